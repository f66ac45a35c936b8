//! Typed access to the elements of a System file; an error names force, particle and attribute.

use roxmltree::{Document, Node, ParsingOptions};

use crate::error::Error;

/// The key of a target that has the file.
pub(super) const KEY: &str = "system";

/// More bytes than any System of a molecule that a flow can learn has.
const LONGEST: usize = 64 << 20;

/// An element.
#[derive(Clone, Copy)]
pub(super) struct Element<'a>(Node<'a, 'a>);

/// The text of a file as XML.
///
/// # Errors
/// [`Error::Parameter`] on `system` with the line.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Error> {
    if text.len() > LONGEST {
        let problem = format!("has {} MiB: is it the System alone?", text.len() >> 20);
        return Err(Error::parameter(KEY, problem));
    }
    // The memory of a tree is in proportion to its nodes, each of which is some bytes of text.
    let limits = ParsingOptions { nodes_limit: 2_000_000, ..ParsingOptions::default() };
    Document::parse_with_options(text, limits).map_err(|e| {
        let problem =
            format!("is not XML ({e}): write it by `openmm.XmlSerializer.serialize(system)`");
        Error::parameter(KEY, problem)
    })
}

impl<'a> Element<'a> {
    /// The outermost element, which is a System.
    pub fn root(document: &'a Document<'a>) -> Result<Self, Error> {
        let root = Self(document.root_element());
        match (root.0.tag_name().name(), root.0.attribute("type")) {
            ("System", _) => Ok(root),
            (name, kind) => {
                let what = kind.unwrap_or(name);
                let problem = format!(
                    "is the XML of a {what}, not of a System: write it by \
                     `openmm.XmlSerializer.serialize(system)`, where `system` comes from \
                     `forcefield.createSystem(…)`"
                );
                Err(Error::parameter(KEY, problem))
            }
        }
    }

    /// Its name.
    pub fn tag(&self) -> &'a str {
        self.0.tag_name().name()
    }

    /// All elements in it.
    pub fn elements(&self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        self.0.children().filter(Node::is_element).map(Element)
    }

    /// The elements called `item` in its part `list`, of which there may be none.
    pub fn items(&self, list: &str, item: &'static str) -> Result<Vec<Element<'a>>, Error> {
        let Some(list) = self.part(list) else { return Ok(Vec::new()) };
        match list.elements().find(|element| element.tag() != item) {
            None => Ok(list.elements().collect()),
            Some(other) => other.refuse(&format!("stands where a `{item}` should")),
        }
    }

    /// The Particles of a force, as many as the System's `count`.
    pub fn particles(&self, count: usize) -> Result<Vec<Element<'a>>, Error> {
        let particles = self.items("Particles", "Particle")?;
        match particles.len() {
            found if found == count => Ok(particles),
            found => self.refuse(&format!("has {found} Particles, but the System has {count}")),
        }
    }

    /// Its part `name`, if there is one.
    pub fn part(&self, name: &str) -> Option<Element<'a>> {
        self.elements().find(|element| element.tag() == name)
    }

    /// An attribute that may be missing.
    pub fn optional(&self, name: &str) -> Option<&'a str> {
        self.0.attribute(name)
    }

    /// An attribute.
    pub fn text(&self, name: &str) -> Result<&'a str, Error> {
        self.0.attribute(name).ok_or_else(|| self.error(&format!("has no `{name}`")))
    }

    /// A finite number.
    pub fn number(&self, name: &str) -> Result<f64, Error> {
        let text = self.text(name)?;
        match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => self.refuse(&format!("has {name} = \"{}\", not a finite number", short(text))),
        }
    }

    /// A number from 0 to `count` − 1.
    pub fn index(&self, name: &str, count: usize) -> Result<usize, Error> {
        let text = self.text(name)?;
        match text.trim().parse::<usize>() {
            Ok(value) if value < count => Ok(value),
            _ => {
                let last = count.saturating_sub(1);
                self.refuse(&format!("has {name} = \"{}\", not one of 0 to {last}", short(text)))
            }
        }
    }

    /// Different atoms, of `count` that there are.
    pub fn atoms<const N: usize>(
        &self,
        names: [&str; N],
        count: usize,
    ) -> Result<[usize; N], Error> {
        let mut atoms = [0; N];
        for k in 0..N {
            atoms[k] = self.index(names[k], count)?;
            if atoms[..k].contains(&atoms[k]) {
                return self.refuse(&format!("has particle {} twice", atoms[k]));
            }
        }
        Ok(atoms)
    }

    /// A number that no other element has.
    pub fn number_in_file(&self) -> f64 {
        self.0.id().get_usize() as f64
    }

    /// Refuses a flag that is set.
    pub fn require_unset(&self, flag: &str, problem: &str) -> Result<(), Error> {
        match self.optional(flag) {
            None | Some("0" | "false") => Ok(()),
            Some(_) => self.refuse(problem),
        }
    }

    /// Refuses it, for `problem` and its remedy.
    pub fn refuse<T>(&self, problem: &str) -> Result<T, Error> {
        Err(self.error(problem))
    }

    /// An error about it.
    pub fn error(&self, problem: &str) -> Error {
        Error::parameter(KEY, format!("{} {problem}", self.place()))
    }

    /// Where it is, in words: "has as force 2 a NonbondedForce, whose Particle 7" or "… that".
    fn place(&self) -> String {
        let force = self.0.ancestors().find(|node| node.tag_name().name() == "Force");
        let number = |node: &Node<'_, '_>| {
            let alike = |other: &Node<'_, '_>| other.tag_name() == node.tag_name();
            node.prev_siblings().skip(1).filter(alike).count()
        };
        let own = match number(&self.0) {
            _ if ["Force", "System"].contains(&self.tag()) => " that".to_string(),
            0 if self.0.next_siblings().skip(1).all(|n| n.tag_name() != self.0.tag_name()) => {
                format!(", whose {}", self.tag())
            }
            place => format!(", whose {} {place}", self.tag()),
        };
        match force {
            Some(force) => {
                let kind = force.attribute("type").unwrap_or("force");
                let name = match force.attribute("name") {
                    Some(name) if name != kind => format!(" \"{}\"", short(name)),
                    _ => String::new(),
                };
                format!("has as force {} a {kind}{name}{own}", number(&force))
            }
            None => format!("is a System{own}"),
        }
    }
}

/// The beginning of a text of unknown length.
pub(super) fn short(text: &str) -> String {
    let start: String =
        text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if start.len() < text.len() {
        start + "…"
    } else {
        start
    }
}
