//! Random numbers that need no state: each is drawn from a seed and a list of coordinates, so that
//! any result can be computed at any time, in any order, and always comes out the same.

/// Mixes a seed and coordinates to 64 random bits (the finaliser of SplitMix64, chained).
pub(crate) fn mix(seed: u64, coordinates: &[u64]) -> u64 {
    let mut hash = scramble(seed);
    for &coordinate in coordinates {
        hash = scramble(hash ^ coordinate);
    }
    hash
}

/// Draws from `0.0..1.0`, evenly.
pub(crate) fn unit(seed: u64, coordinates: &[u64]) -> f64 {
    // 53 bits are what an f64 holds exactly.
    (mix(seed, coordinates) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Draws from `from..to`, evenly.
pub(crate) fn between(from: f64, to: f64, seed: u64, coordinates: &[u64]) -> f64 {
    from + (to - from) * unit(seed, coordinates)
}

/// Draws a bell-shaped number around 0, within ±1, with a spread of about a third.
pub(crate) fn bell(seed: u64) -> f64 {
    (unit(seed, &[1]) + unit(seed, &[2]) + unit(seed, &[3])) / 1.5 - 1.0
}

fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
