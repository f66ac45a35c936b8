//! What a check finds.

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Training works, but the user should know.
    Caution,
    /// Training would be wrong.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its name, one word.
    pub what: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The numbers, and what to do if it is not fine.
    pub text: String,
}

/// A few particles by their numbers.
pub(super) fn listed(particles: &[usize]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = particles.iter().take(SHOWN).map(usize::to_string).collect();
    match particles.len() {
        0..=SHOWN => format!("[{}]", shown.join(", ")),
        all => format!("[{}, … {} in all]", shown.join(", "), all),
    }
}

/// An energy in kT.
pub(super) fn in_kt(energy: f64) -> String {
    match energy {
        // Without the sign of a rounded −0.
        small if small.abs() < 0.05 => "0.0".to_string(),
        large if large.abs() >= 1e6 => format!("{large:.1e}"),
        other => format!("{other:.1}"),
    }
}
