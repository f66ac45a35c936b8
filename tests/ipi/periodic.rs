//! Clients with periodic boundaries.

use std::sync::Arc;

use boltzflow::potential::{Ipi, IpiParameters, LennardJones, LennardJonesParameters, Potential};

use super::fake::{Fake, Fault};
use super::{batch, configurations, deviation, parameters, PARTICLES};

#[test]
fn a_periodic_box_is_the_clients_cell() {
    let edges = vec![3.0, 3.5, 4.0];
    let lennard_jones = |edges: &[f64]| {
        let parameters = LennardJonesParameters {
            trap: 0.0,
            edges: Some(edges.to_vec()),
            cutoff: Some(1.4),
            ..LennardJonesParameters::new(PARTICLES, 3, 1.0)
        };
        Arc::new(LennardJones::new(parameters).unwrap()) as Arc<dyn Potential>
    };
    let inner = lennard_jones(&edges);
    let in_box =
        IpiParameters { trap: 0.0, edges: Some(edges.clone()), ..parameters("127.0.0.1:0") };
    // A particle that has left the box by far is as good as its image.
    let mut x = configurations(20);
    x.iter_mut().step_by(3 * PARTICLES).for_each(|x| *x += 300.0);
    let server = Ipi::new(in_box.clone()).unwrap();
    assert_eq!(server.system().periodic_box(), Some(&edges[..]));
    let client = Fake::new(&inner, Fault::None).start(server.address());
    let (got, want) = (batch(&server, &x), batch(&inner, &x));
    assert_eq!(got.2, 0);
    assert!(deviation(&got.0, &want.0) < 1e-10 && deviation(&got.1, &want.1) < 1e-10);
    drop(server);
    assert!(client.join().unwrap());
    // Planted: the edges in another order.
    let other = lennard_jones(&[3.5, 3.0, 4.0]);
    assert!(deviation(&batch(&other, &x).0, &want.0) > 1e-3);
    let trapped = Ipi::new(IpiParameters { trap: 0.1, ..in_box.clone() }).unwrap_err();
    assert!(trapped.to_string().contains("`trap`"), "{trapped}");
    let flat = Ipi::new(IpiParameters { edges: Some(vec![3.0; 2]), ..in_box }).unwrap_err();
    assert!(flat.to_string().contains("`box`"), "{flat}");
}
