//! Convex polygons in a picture, with smooth edges to the sides.

use crate::media::picture::{Color, Picture};

/// How a polygon is filled.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// At its top.
    pub top: Color,
    /// At its bottom; rows between are mixed.
    pub bottom: Color,
    /// How much of what was there is covered: 256 is all.
    pub share: u32,
}

impl Fill {
    /// One colour that covers.
    pub fn plain(color: Color) -> Self {
        Self { top: color, bottom: color, share: 256 }
    }

    /// One colour that lets some through.
    pub fn clear(color: Color, share: u32) -> Self {
        Self { top: color, bottom: color, share }
    }
}

/// Fills a convex polygon, cut off at the edges of the picture. Coordinates are in pixels; what is no
/// number is not drawn.
pub fn polygon(picture: &mut Picture, points: &[[f32; 2]], fill: Fill) {
    if points.len() < 3 || !points.iter().flatten().all(|value| value.is_finite()) {
        return;
    }
    let (low, high) = points
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), point| (low.min(point[1]), high.max(point[1])));
    let rows = picture.size().height as f32;
    // A row belongs to the polygon when its middle does.
    let (first, last) = ((low - 0.5).ceil().max(0.0), (high - 0.5).ceil().min(rows));
    let mut row = first;
    while row < last {
        let middle = row + 0.5;
        let (mut left, mut right) = (f32::MAX, f32::MIN);
        let mut from = points[points.len() - 1];
        for &to in points {
            if (from[1] <= middle) != (to[1] <= middle) {
                let x = from[0] + (middle - from[1]) * (to[0] - from[0]) / (to[1] - from[1]);
                left = left.min(x);
                right = right.max(x);
            }
            from = to;
        }
        let color = if fill.top == fill.bottom {
            fill.top
        } else {
            fill.top.mix(fill.bottom, ((middle - low) / (high - low) * 256.0) as u32)
        };
        span(picture, row as usize, left, right, color, fill.share);
        row += 1.0;
    }
}

/// One row of a polygon; its ends cover their pixels in part.
fn span(picture: &mut Picture, row: usize, left: f32, right: f32, color: Color, share: u32) {
    let width = picture.size().width as f32;
    let (left, right) = (left.max(0.0), right.min(width));
    if left >= right {
        return;
    }
    let (whole_from, whole_to) = (left.ceil(), right.floor());
    let part = |cover: f32| (cover * share as f32) as u32;
    if whole_from > whole_to {
        edge(picture, row, whole_to, color, part(right - left));
        return;
    }
    edge(picture, row, whole_from - 1.0, color, part(whole_from - left));
    picture.blend_span(row, whole_from as usize, whole_to as usize, color, share);
    edge(picture, row, whole_to, color, part(right - whole_to));
}

fn edge(picture: &mut Picture, row: usize, column: f32, color: Color, share: u32) {
    if share > 0 {
        picture.blend_pixel(column as i32, row as i32, color, share);
    }
}

/// The outline around some points on the ground, counter-clockwise.
pub fn hull(mut points: Vec<[f32; 2]>) -> Vec<[f32; 2]> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let half = |points: &mut dyn Iterator<Item = [f32; 2]>| {
        let mut chain: Vec<[f32; 2]> = Vec::new();
        for point in points {
            while let [.., a, b] = chain[..] {
                let turn = (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]);
                if turn > 0.0 {
                    break;
                }
                chain.pop();
            }
            chain.push(point);
        }
        chain.pop();
        chain
    };
    let mut outline = half(&mut points.iter().copied());
    outline.extend(half(&mut points.iter().rev().copied()));
    outline
}

#[cfg(test)]
mod tests {
    use openh264::formats::YUVSource;
    use proptest::prelude::*;

    use super::*;
    use crate::media::picture::Size;

    #[test]
    fn a_rectangle_covers_its_pixels_and_half_of_those_at_its_sides() {
        let mut picture = Picture::new(Size { width: 16, height: 8 });
        let square = [[2.5, 1.0], [6.0, 1.0], [6.0, 4.0], [2.5, 4.0]];
        polygon(&mut picture, &square, Fill::plain(Color { y: 116, u: 128, v: 128 }));
        let row: Vec<u8> = picture.y()[2 * 16..2 * 16 + 8].to_vec();
        assert_eq!(row, [16, 16, 66, 116, 116, 116, 16, 16]);
        assert_eq!(picture.y()[4 * 16 + 4], 16, "the row below");
    }

    #[test]
    fn the_outline_of_a_square_with_a_point_inside_is_the_square() {
        let outline = hull(vec![[0.0, 0.0], [1.0, 1.0], [0.4, 0.6], [1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(outline, [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]);
    }

    proptest! {
        #[test]
        fn any_points_anywhere_are_cut_off_at_the_edges(
            points in proptest::collection::vec([-1e6f32..1e6, -1e6f32..1e6], 0..9),
            bad in proptest::option::of(proptest::sample::select(vec![f32::NAN, f32::INFINITY])),
        ) {
            let mut points = points;
            if let (Some(bad), Some(point)) = (bad, points.first_mut()) {
                point[0] = bad;
            }
            let mut picture = Picture::new(Size { width: 32, height: 32 });
            polygon(&mut picture, &points, Fill::clear(Color::WHITE, 200));
            prop_assert!(hull(points.clone()).len() <= points.len());
        }
    }
}
