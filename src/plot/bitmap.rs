//! The PNG's backend: plotters' bitmap with its text where the SVG has it.

use plotters::prelude::*;
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind, FontTransform,
};

/// plotters sets text of an embedded font too high by this share of its size.
const TOO_HIGH: f64 = 0.17;

/// A bitmap that sets its text lower.
pub(super) struct Bitmap<'a>(pub BitMapBackend<'a>);

type Fault<'a> = <BitMapBackend<'a> as DrawingBackend>::ErrorType;
type Done<'a> = Result<(), DrawingErrorKind<Fault<'a>>>;

impl<'a> DrawingBackend for Bitmap<'a> {
    type ErrorType = Fault<'a>;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Done<'a> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Done<'a> {
        self.0.present()
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Done<'a> {
        self.0.draw_pixel(point, color)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Done<'a> {
        self.0.draw_rect(upper_left, bottom_right, style, fill)
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Done<'a> {
        let down = (TOO_HIGH * style.size()).round() as i32;
        let (dx, dy) = match style.transform() {
            FontTransform::None => (0, down),
            FontTransform::Rotate90 => (-down, 0),
            FontTransform::Rotate180 => (0, -down),
            FontTransform::Rotate270 => (down, 0),
        };
        self.0.draw_text(text, style, (x + dx, y + dy))
    }
}
