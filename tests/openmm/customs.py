"""A System with each kind of force that boltzflow reads, on alanine dipeptide."""

import copy

import openmm


def of_kind(system, kind):
    return next(force for force in system.getForces() if isinstance(force, kind))


def morse(bonds):
    force = openmm.CustomBondForce("d*(1-exp(-a*(r-r0)))^2; a=sqrt(k/(2*d))")
    force.addGlobalParameter("d", 400)
    for name in ("r0", "k"):
        force.addPerBondParameter(name)
    for i in range(bonds.getNumBonds()):
        a, b, length, k = bonds.getBondParameters(i)
        force.addBond(a, b, [length._value, k._value])
    return force


def angles(harmonic):
    force = openmm.CustomAngleForce(
        "0.5*k*(theta-t0)^2+select(step(theta-2),cos(3*theta)-cos(6),0)"
    )
    for name in ("t0", "k"):
        force.addPerAngleParameter(name)
    for i in range(harmonic.getNumAngles()):
        a, b, c, theta, k = harmonic.getAngleParameters(i)
        force.addAngle(a, b, c, [theta._value, k._value])
    return force


def torsions(periodic):
    force = openmm.CustomTorsionForce(
        "k*(1+cos(n*theta-p))+0.7*sin(theta)+erf(sin(theta))+erfc(cos(theta))"
        "+atan2(sin(theta),2+cos(theta))+min(0.1,sin(theta))+floor(k)+ceil(0.4)"
        "+cube(cos(theta))+square(sin(theta))+recip(3+sec(cos(theta)))+csc(2+cos(theta))"
        "+cot(2+cos(theta))+delta(theta)+max(0.2,cos(theta))+abs(sin(theta))"
        "+tanh(theta)+sinh(0.3*theta)+cosh(theta)+asin(0.5*sin(theta))+acos(0.5*cos(theta))"
        "+atan(theta)+tan(0.3*theta)+log(2+sin(theta))+exp(cos(theta))"
    )
    for name in "npk":
        force.addPerTorsionParameter(name)
    for i in range(periodic.getNumTorsions()):
        a, b, c, d, n, phase, k = periodic.getTorsionParameters(i)
        force.addTorsion(a, b, c, d, [n, phase._value, k._value])
    return force


def compounds(periodic):
    force = openmm.CustomCompoundBondForce(
        4,
        "k*(distance(p1,p2)-0.2)^2+distance(p1,p2)*angle(p2,p3,p4)"
        "+2*sin(dihedral(p1,p2,p3,p4))*distance(p2,p4)+tab(k)",
    )
    force.addPerBondParameter("k")
    force.addTabulatedFunction("tab", openmm.Discrete1DFunction([1, 2, 3, 4, 5]))
    for i in range(0, periodic.getNumTorsions(), 3):
        a, b, c, d, *_ = periodic.getTorsionParameters(i)
        force.addBond([a, b, c, d], [i % 4])
    return force


def pairs(nonbonded):
    force = openmm.CustomNonbondedForce(
        "4*epsilon*((sigma/r)^12-(sigma/r)^6)*1e-3+138.9*q1*q2/r*exp(-r)+ee1*ee2+tab(q1>0,0);"
        "sigma=0.5*(sig1+sig2);epsilon=sqrt(eps1*eps2)".replace("tab(q1>0,0)", "tab(kind1,kind2)")
    )
    for name in ("q", "sig", "eps", "kind"):
        force.addPerParticleParameter(name)
    force.addTabulatedFunction("tab", openmm.Discrete2DFunction(2, 2, [1, 2, 2, 3]))
    force.addComputedValue("ee", "q*eps")
    for i in range(nonbonded.getNumParticles()):
        numbers = [value._value for value in nonbonded.getParticleParameters(i)]
        force.addParticle(numbers + [i % 2])
    for i in range(nonbonded.getNumExceptions()):
        a, b, *_ = nonbonded.getExceptionParameters(i)
        force.addExclusion(a, b)
    force.addInteractionGroup(range(10), range(5, nonbonded.getNumParticles()))
    return force


def ryckaert_bellemans(periodic):
    force = openmm.RBTorsionForce()
    for i in range(0, periodic.getNumTorsions(), 4):
        a, b, c, d, *_ = periodic.getTorsionParameters(i)
        force.addTorsion(a, b, c, d, 1.0, 2.0, -1.5, 0.7, 0.3, -0.9)
    return force


def obc(born):
    force = openmm.GBSAOBCForce()
    for i in range(born.getNumParticles()):
        charge, reduced, scaled = born.getParticleParameters(i)
        # A sphere so large that it holds others.
        scale = 3.0 if i == 5 else scaled / reduced
        force.addParticle(charge, reduced + 0.009, scale)
    return force


def offsets(nonbonded):
    force = copy.deepcopy(nonbonded)
    force.addGlobalParameter("half", 0.5)
    force.addParticleParameterOffset("half", 3, 0.1, 0.01, 0.2)
    force.addExceptionParameterOffset("half", 2, 0.05, 0.0, 0.0)
    return force


def other_born(born):
    """The same model in words that are not recognised, with exclusions."""
    text = openmm.XmlSerializer.serialize(born)
    text = text.replace('expression="select(', 'expression="1*select(').replace(
        "<Exclusions/>", '<Exclusions><Exclusion p1="0" p2="1"/></Exclusions>'
    )
    return openmm.XmlSerializer.deserialize(text.replace('type="2"', 'type="1"'))


def customs(system):
    """Names and Systems."""
    bonds, harmonic = of_kind(system, openmm.HarmonicBondForce), of_kind(
        system, openmm.HarmonicAngleForce
    )
    periodic = of_kind(system, openmm.PeriodicTorsionForce)
    nonbonded = of_kind(system, openmm.NonbondedForce)
    born = of_kind(system, openmm.CustomGBForce)
    for force in (
        morse(bonds), angles(harmonic), torsions(periodic), compounds(periodic), pairs(nonbonded),
        ryckaert_bellemans(periodic), obc(born), offsets(nonbonded), other_born(born),
        openmm.CMMotionRemover(),
    ):
        with_force = copy.deepcopy(system)
        name = type(force).__name__
        with_force.addForce(copy.deepcopy(force))
        yield f"with {name}", with_force
