//! The second line of a frame: `key=value key="value" …`, cut up as ASE and the extxyz format do.

/// Keys that decide how the atoms are read.
const KEYS: [&str; 4] = ["Properties", "Lattice", "pbc", "log_weight"];

/// Keys under which somebody may have put weights that would not be read.
const OTHER_WEIGHTS: [&str; 4] = ["weight", "weights", "log_weights", "logweight"];

/// Keys with their values, in the order of the line.
#[derive(Debug, PartialEq)]
pub(super) struct Comment {
    pairs: Vec<(String, Option<String>)>,
}

impl Comment {
    /// The pairs of `line`. A value may be in quotes or brackets, blanks may stand around `=`, and
    /// `\` takes the next character as it is. Text without `=` is keys without values.
    ///
    /// # Errors
    /// What follows "frame 3" in a message, where programs would disagree about what a key means.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut pairs: Vec<(String, Option<String>)> = Vec::new();
        let mut rest = line.trim();
        // Whether the next word is the value of the last key.
        let mut wanted = false;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('=') {
                match pairs.last_mut() {
                    Some((_, value @ None)) => *value = Some(String::new()),
                    Some((_, Some(value))) => value.push('='),
                    None => pairs.push((String::new(), Some(String::new()))),
                }
                (wanted, rest) = (true, after.trim_start());
                continue;
            }
            let (word, after) = next_word(rest)?;
            rest = after.trim_start();
            match pairs.last_mut() {
                Some((key, Some(value))) if wanted => {
                    // ASE takes the next word for the value then, others do not.
                    if word.is_empty() && !rest.is_empty() {
                        return Err(format!("has no value for the key `{}`", shown(key)));
                    }
                    value.push_str(&word);
                    wanted = false;
                }
                _ if word.is_empty() => {}
                _ => pairs.push((word, None)),
            }
        }
        let comment = Self { pairs };
        comment.check_keys()?;
        Ok(comment)
    }

    /// The value of `key`, the last one if it is repeated.
    pub fn get(&self, key: &str) -> Option<&str> {
        let pair = self.pairs.iter().rev().find(|(name, _)| name == key)?;
        pair.1.as_deref()
    }

    fn check_keys(&self) -> Result<(), String> {
        for (key, value) in &self.pairs {
            let meant = KEYS.iter().find(|known| known.eq_ignore_ascii_case(key));
            match (meant, value) {
                (Some(known), Some(_)) if known != key => {
                    return Err(format!("has the key `{key}`: write it `{known}`"));
                }
                (Some(known), None) if known == key => {
                    return Err(format!("has the key `{key}` without a value"));
                }
                _ => {}
            }
            if value.is_some() && OTHER_WEIGHTS.contains(&key.to_ascii_lowercase().as_str()) {
                return Err(format!(
                    "has the key `{key}`: write the logarithm of the weight as log_weight=…, or \
                     leave it out if it does not matter"
                ));
            }
        }
        Ok(())
    }

    /// Refuses a frame of a periodic system, whose atoms may have been put back into the box one by
    /// one: there is no telling which image of each belongs to the cluster. For particles in a box,
    /// whose `edges` are in Å, a frame must have the same, or none.
    pub fn check_box(&self, edges: Option<&[f64]>) -> Result<(), String> {
        if let Some(edges) = edges {
            return self.check_edges(edges);
        }
        let periodic = match (self.get("pbc"), self.get("Lattice")) {
            (Some(pbc), _) => {
                let mut axes = pbc.split([' ', '\t', ',']).filter(|axis| !axis.is_empty());
                !axes.all(|axis| ["F", "False", "false", "FALSE", "0"].contains(&axis))
            }
            // Without pbc a cell is periodic, by the format.
            (None, lattice) => lattice.is_some(),
        };
        match periodic {
            true => Err("is periodic by its Lattice or pbc, and there are no periodic boundaries \
                         here: put the atoms of each molecule next to each other (unwrap them), \
                         then write pbc=\"F F F\" and no Lattice"
                .to_string()),
            false => Ok(()),
        }
    }

    fn check_edges(&self, edges: &[f64]) -> Result<(), String> {
        let Some(lattice) = self.get("Lattice") else { return Ok(()) };
        let numbers = lattice.split_whitespace().map(|word| word.parse().unwrap_or(f64::NAN));
        let numbers: Vec<f64> = numbers.collect();
        let expected = |place: usize| match (place / 3 == place % 3, edges.get(place / 3)) {
            (true, Some(edge)) => *edge,
            (true, None) => numbers[place],
            _ => 0.0,
        };
        let near =
            |(place, length): (usize, &f64)| (length - expected(place)).abs() <= 1e-6 * edges[0];
        match numbers.len() == 9 && numbers.iter().enumerate().all(near) {
            true => Ok(()),
            false => Err(format!(
                "has the Lattice \"{}\", and the target's box has edges of {edges:?} Å along the \
                 axes",
                shown(lattice)
            )),
        }
    }

    /// The value of `log_weight`.
    pub fn log_weight(&self) -> Result<Option<f64>, String> {
        let number = |text: &str| {
            let wrong = |_| format!("has the log weight `{}`, which is not a number", shown(text));
            text.trim().parse().map_err(wrong)
        };
        self.get("log_weight").map(number).transpose()
    }

    /// Refuses what i-PI marks as something else than positions in Å, such as
    /// `Traj: positions{atomic_unit}` or `Traj: forces{ase}`.
    pub fn check_trajectory(line: &str) -> Result<(), String> {
        let what = line.split_once("Traj:").and_then(|(_, after)| after.split_whitespace().next());
        match what {
            Some(what) if what.contains('{') && !what.ends_with("{angstrom}") => Err(format!(
                "has `{}` by its second line: let i-PI write positions{{angstrom}}",
                shown(what)
            )),
            _ => Ok(()),
        }
    }
}

/// The first word of `text`, which does not begin with a blank or `=`, and what follows it.
fn next_word(text: &str) -> Result<(String, &str), String> {
    let mut word = String::new();
    let mut closing = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match (c, closing) {
            ('\\', _) => word.extend(characters.next().map(|(_, escaped)| escaped)),
            (c, Some(end)) if c == end => closing = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => closing = Some(c),
            ('{', None) => closing = Some('}'),
            ('[', None) => closing = Some(']'),
            (c, None) if c == '=' || c.is_whitespace() => return Ok((word, &text[at..])),
            (c, None) => word.push(c),
        }
    }
    // A quote in "the water's box" is only text; one that hides a key is a mistake.
    match closing {
        Some(end) if KEYS.iter().any(|key| word.contains(key)) => {
            Err(format!("has a second line where a `{end}` is missing"))
        }
        _ => Ok((word, "")),
    }
}

/// What a message shows of a file's text.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
