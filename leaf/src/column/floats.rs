//! Floats: as integers divided by a power of ten where that is exact, and their order as integers.
//!
//! In: 64-bit floats. Out: an exponent and integers, such that `integer as f64 / 10^exponent` is the float, bit for bit.
//! Division rounds correctly, so whatever was read from a decimal of up to 15 digits comes back; a product with a
//! negative power does not (3 × 0.1 is not 0.3). NaN, infinities and -0.0 are no such numbers: a block with one is plain.

/// The greatest exponent tried. Powers of ten up to 22 are exact.
pub(super) const EXPONENT_MAX: u8 = 15;

/// Scaled integers stay below this, so that they are floats themselves.
const SCALED_MAX: i64 = 1 << 52;

/// 10 to the `exponent`, which is at most 22.
pub(super) fn power(exponent: u8) -> f64 {
    const POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ];
    POWERS[usize::from(exponent)]
}

/// A block's floats as integers over `10^exponent`, if all are; the exponent is the least.
pub(super) fn scale(values: &[f64], out: &mut Vec<i64>) -> Option<u8> {
    // What is exact at one exponent is so at the next: both quotients are the same number, rounded once.
    let mut exponent = 0;
    for value in values {
        while scaled(*value, power(exponent)).is_none() {
            exponent += 1;
            if exponent > EXPONENT_MAX {
                return None;
            }
        }
    }
    out.clear();
    out.reserve(values.len());
    for value in values {
        out.push(scaled(*value, power(exponent))?);
    }
    Some(exponent)
}

fn scaled(value: f64, power: f64) -> Option<i64> {
    let integer = (value * power + 0.5_f64.copysign(value)) as i64;
    let is_exact = (integer as f64 / power).to_bits() == value.to_bits();
    (is_exact && -SCALED_MAX < integer && integer < SCALED_MAX).then_some(integer)
}

/// An integer that is ordered as [`f64::total_cmp`] orders the floats.
pub fn order(value: f64) -> i64 {
    flip(value.to_bits() as i64)
}

/// The float that has this place in the order.
pub(super) fn from_order(order: i64) -> f64 {
    f64::from_bits(flip(order) as u64)
}

/// Negative floats are ordered against their bits.
fn flip(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}
