//! PDF's own geometry: boxes whose y grows upwards, and transformations.

/// A rectangle in the page's own, unrotated coordinates: y grows upwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    /// Least x.
    pub left: f32,
    /// Least y.
    pub bottom: f32,
    /// Greatest x.
    pub right: f32,
    /// Greatest y.
    pub top: f32,
}

/// A transformation `[a b c d e f]` as PDF writes it: x' = ax + cy + e, y' = bx + dy + f.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matrix(pub [f32; 6]);

impl Matrix {
    /// Changes nothing.
    pub(super) const IDENTITY: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    /// A transformed point.
    pub(super) fn point(&self, (x, y): (f32, f32)) -> (f32, f32) {
        let [a, b, c, d, e, f] = self.0;
        (a * x + c * y + e, b * x + d * y + f)
    }

    /// How much longer or shorter it makes things, on the whole.
    pub(super) fn scale(&self) -> f32 {
        let [a, b, c, d, ..] = self.0;
        (a * d - b * c).abs().sqrt()
    }

    /// The box around a transformed box.
    pub(super) fn apply(&self, rect: Rect) -> Rect {
        let corners =
            [(rect.left, rect.bottom), (rect.left, rect.top), (rect.right, rect.bottom), (rect.right, rect.top)];
        let points = corners.map(|corner| self.point(corner));
        points.iter().fold(Rect { left: f32::MAX, bottom: f32::MAX, right: f32::MIN, top: f32::MIN }, |r, &(x, y)| {
            Rect { left: r.left.min(x), bottom: r.bottom.min(y), right: r.right.max(x), top: r.top.max(y) }
        })
    }

    /// First `self`, then `outer`.
    pub(super) fn then(&self, outer: &Self) -> Self {
        let ([a, b, c, d, e, f], [p, q, r, s, t, u]) = (self.0, outer.0);
        Self([a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_in_a_form_is_transformed_from_the_inside_out() {
        let (inner, outer) = (Matrix([2.0, 0.0, 0.0, 2.0, 10.0, 20.0]), Matrix([0.0, 1.0, -1.0, 0.0, 100.0, 0.0]));
        let rect = Rect { left: 0.0, bottom: 0.0, right: 5.0, top: 10.0 };
        assert_eq!(inner.then(&outer).apply(rect), outer.apply(inner.apply(rect)));
        assert_eq!(outer.apply(rect), Rect { left: 90.0, bottom: 0.0, right: 100.0, top: 5.0 });
    }
}
