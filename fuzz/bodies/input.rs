//! A fuzzer's bytes, taken from the front as whatever is needed. Behind their end everything is zero.

/// What is left.
pub struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    /// All of `data`.
    pub fn new(data: &'d [u8]) -> Self {
        Input(data)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `choices`.
    pub fn choice(&mut self, choices: usize) -> usize {
        usize::from(self.byte()) % choices
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Little-endian.
    pub fn number<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Bytes behind a length of one byte.
    pub fn text(&mut self) -> &'d [u8] {
        let length = usize::from(self.byte());
        self.take(length)
    }

    /// One of `known` by its number, or else as many bytes as the number says.
    pub fn pick(&mut self, known: &[&'static [u8]; 16]) -> &'d [u8] {
        let number = usize::from(self.byte());
        known.get(number).copied().unwrap_or_else(|| self.take(number - known.len() + 1))
    }

    /// So many bytes, or as many as are left.
    pub fn take(&mut self, count: usize) -> &'d [u8] {
        let (front, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        front
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'d [u8] {
        core::mem::take(&mut self.0)
    }
}
