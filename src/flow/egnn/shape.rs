//! Sizes of the graph network, and the shape of what travels through it.

/// Sizes of the networks.
pub struct Sizes<'a> {
    pub blocks: usize,
    pub features: usize,
    /// Copies of the positions, each of which starts as many channels.
    pub copies: usize,
    /// All position channels.
    pub channels: usize,
    pub edge_hidden: &'a [usize],
    pub node_hidden: &'a [usize],
    pub head_hidden: &'a [usize],
    pub outputs: usize,
}

/// Shape of what travels through the blocks.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub particles: usize,
    pub dimension: usize,
    pub features: usize,
    /// Copies of the positions; channel v starts as copy ⌊v·copies/channels⌋.
    pub copies: usize,
    pub channels: usize,
    /// Unordered pairs of channels.
    pub channel_pairs: Vec<(usize, usize)>,
    /// Ordered pairs of channels.
    pub channel_crosses: Vec<(usize, usize)>,
}

impl Shape {
    pub fn new(particles: usize, dimension: usize, sizes: &Sizes<'_>) -> Self {
        let &Sizes { features, copies, channels, .. } = sizes;
        let all = (0..channels).flat_map(|v| (0..channels).map(move |w| (v, w)));
        Self {
            particles,
            dimension,
            features,
            copies,
            channels,
            channel_pairs: all.clone().filter(|(v, w)| v < w).collect(),
            channel_crosses: all.filter(|(v, w)| v != w).collect(),
        }
    }

    /// Rows of all channels' positions.
    #[inline(always)]
    pub fn axes(&self) -> usize {
        self.channels * self.dimension
    }

    /// Rows of one channel's positions.
    #[inline(always)]
    pub fn axes_of(&self, channel: usize) -> std::ops::Range<usize> {
        channel * self.dimension..(channel + 1) * self.dimension
    }

    /// Lane of a coordinate of the copy [copies, n, d] that a channel starts as.
    #[inline(always)]
    pub fn input(&self, channel: usize, particle: usize, axis: usize) -> usize {
        let copy = channel * self.copies / self.channels;
        (copy * self.particles + particle) * self.dimension + axis
    }

    /// Number of unordered pairs of channels.
    #[inline(always)]
    pub fn pairs(&self) -> usize {
        self.channel_pairs.len()
    }

    /// Inputs of φ_e that belong to a node, not to an edge.
    #[inline(always)]
    pub fn node_inputs(&self) -> usize {
        2 * (self.features + self.pairs())
    }

    /// n − 1.
    pub fn neighbours(&self) -> f64 {
        (self.particles - 1) as f64
    }
}
