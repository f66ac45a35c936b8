//! The periodic table.

/// Symbol and covalent radius in Å of the elements in their order; 0 where none is known. Radii by
/// Cordero et al., Dalton Trans. (2008) 2832.
const ELEMENTS: &str =
    "H .31 He .28 Li 1.28 Be .96 B .84 C .76 N .71 O .66 F .57 Ne .58 Na 1.66 Mg 1.41 Al 1.21 \
     Si 1.11 P 1.07 S 1.05 Cl 1.02 Ar 1.06 K 2.03 Ca 1.76 Sc 1.7 Ti 1.6 V 1.53 Cr 1.39 Mn 1.39 \
     Fe 1.32 Co 1.26 Ni 1.24 Cu 1.32 Zn 1.22 Ga 1.22 Ge 1.2 As 1.19 Se 1.2 Br 1.2 Kr 1.16 Rb 2.2 \
     Sr 1.95 Y 1.9 Zr 1.75 Nb 1.64 Mo 1.54 Tc 1.47 Ru 1.46 Rh 1.42 Pd 1.39 Ag 1.45 Cd 1.44 \
     In 1.42 Sn 1.39 Sb 1.39 Te 1.38 I 1.39 Xe 1.4 Cs 2.44 Ba 2.15 La 2.07 Ce 2.04 Pr 2.03 \
     Nd 2.01 Pm 1.99 Sm 1.98 Eu 1.98 Gd 1.96 Tb 1.94 Dy 1.92 Ho 1.92 Er 1.89 Tm 1.9 Yb 1.87 \
     Lu 1.87 Hf 1.75 Ta 1.7 W 1.62 Re 1.51 Os 1.44 Ir 1.41 Pt 1.36 Au 1.36 Hg 1.32 Tl 1.45 \
     Pb 1.46 Bi 1.48 Po 1.4 At 1.5 Rn 1.5 Fr 2.6 Ra 2.21 Ac 2.15 Th 2.06 Pa 2 U 1.96 Np 1.9 \
     Pu 1.87 Am 1.8 Cm 1.69 Bk 0 Cf 0 Es 0 Fm 0 Md 0 No 0 Lr 0 Rf 0 Db 0 Sg 0 Bh 0 Hs 0 Mt 0 Ds 0 \
     Rg 0 Cn 0 Nh 0 Fl 0 Mc 0 Lv 0 Ts 0 Og 0";

/// Mean masses in Da of the elements of most molecules, from the first on.
const MASSES: [f64; 20] = [
    1.008, 4.003, 6.94, 9.012, 10.81, 12.011, 14.007, 15.999, 18.998, 20.18, 22.99, 24.305, 26.982,
    28.085, 30.974, 32.06, 35.45, 39.95, 39.098, 40.078,
];

/// A chemical element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    number: usize,
    symbol: &'static str,
}

impl Element {
    /// Hydrogen is 1.
    pub fn of_number(number: usize) -> Option<Self> {
        let symbol = ELEMENTS.split(' ').step_by(2).nth(number.checked_sub(1)?)?;
        Some(Self { number, symbol })
    }

    /// By its symbol as chemists write it, "Cl".
    pub fn of_symbol(text: &str) -> Option<Self> {
        let mut symbols = ELEMENTS.split(' ').step_by(2);
        let place = symbols.position(|symbol| symbol == text)?;
        Self::of_number(place + 1)
    }

    /// By its symbol in any case, as in "CL" and "cl".
    pub fn of_symbol_in_any_case(text: &str) -> Option<Self> {
        let mut characters = text.chars();
        let first = characters.next().map(|c| c.to_ascii_uppercase());
        let rest = characters.map(|c| c.to_ascii_lowercase());
        Self::of_symbol(&first.into_iter().chain(rest).collect::<String>())
    }

    /// Protons.
    pub fn number(self) -> usize {
        self.number
    }

    /// "Cl".
    pub fn symbol(self) -> &'static str {
        self.symbol
    }

    /// Mean mass in Da, up to calcium.
    pub fn mass(self) -> Option<f64> {
        MASSES.get(self.number - 1).copied()
    }

    /// Covalent radius in Å; none for elements of which no bonds are known.
    pub fn covalent_radius(self) -> Option<f64> {
        let radius = ELEMENTS.split(' ').skip(1).step_by(2).nth(self.number - 1)?;
        radius.parse().ok().filter(|radius| *radius > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        for (number, symbol, radius) in
            [(1, "H", Some(0.31)), (17, "Cl", Some(1.02)), (92, "U", Some(1.96)), (118, "Og", None)]
        {
            let element = Element::of_symbol(symbol).unwrap();
            assert_eq!((element.number(), element.symbol()), (number, symbol));
            assert_eq!(element.covalent_radius(), radius);
            assert_eq!(Element::of_number(number), Some(element));
            assert_eq!(Element::of_symbol_in_any_case(&symbol.to_uppercase()), Some(element));
        }
        assert!(Element::of_number(0).is_none() && Element::of_number(119).is_none());
        assert!(Element::of_symbol("CL").is_none() && Element::of_symbol("").is_none());
        assert!(Element::of_symbol("1.02").is_none());
    }
}
