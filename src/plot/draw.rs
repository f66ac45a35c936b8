//! Draws a sheet, the same for SVG and PNG.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use plotters::coord::types::RangedCoordf64;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{register_font, FontStyle};

use super::bitmap::Bitmap;
use super::sheet::{viridis, Cells, Curve, Panel, Scale, Sheet, Stroke, Ticks};
use crate::error::Error;
use crate::files::write_atomically;

/// Everything is drawn at twice the size: plotters places on whole pixels, and screens are fine.
const SCALE: u32 = 2;
/// The embedded font's name, which an SVG carries as its list of fonts: Verdana and Bitstream Vera
/// have the same widths.
const FONT: &str = "DejaVu Sans, Bitstream Vera Sans, Verdana, sans-serif";
const TITLE: u32 = 20;
const TEXT: u32 = 16;
const TICK: u32 = 14;
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Writes `path`.svg and `path`.png.
pub(super) fn save(sheet: &Sheet, path: &Path) -> Result<(), Error> {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // A font that cannot be registered shows as a drawing error below.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
    });
    let size = size(sheet);
    let failed = |what: String| Error::Run(format!("cannot draw {}: {what}", path.display()));

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(sheet, &area).map_err(failed)?;
    }
    // Shown at the nominal size; the coordinates inside are finer.
    let at = |scale: u32| format!("width=\"{}\" height=\"{}\"", size.0 / scale, size.1 / scale);
    let svg = svg.replacen(&at(1), &at(SCALE), 1);
    write_atomically(with_extension(path, ".svg"), |file| file.write_all(svg.as_bytes()))?;

    let mut pixels = vec![255; 3 * size.0 as usize * size.1 as usize];
    {
        let area = Bitmap(BitMapBackend::with_buffer(&mut pixels, size)).into_drawing_area();
        draw(sheet, &area).map_err(failed)?;
    }
    write_atomically(with_extension(path, ".png"), |file| {
        let mut encoder = png::Encoder::new(file, size.0, size.1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        Ok(writer.finish()?)
    })
}

/// Appends, since a name such as `ess.v2` has no extension to replace.
fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(extension);
    PathBuf::from(name)
}

/// Panels beside each other at most.
const IN_A_ROW: usize = 3;

/// Rows and columns of panels.
fn layout(sheet: &Sheet) -> (usize, usize) {
    let panels = sheet.panels.len().max(1);
    let columns = if panels == 4 { 2 } else { panels.min(IN_A_ROW) };
    (panels.div_ceil(columns), columns)
}

fn size(sheet: &Sheet) -> (u32, u32) {
    let (rows, columns) = layout(sheet);
    let (width, height) = match columns {
        1 => (800, 500),
        columns => (60 + 400 * columns as u32, 90 + 340 * rows as u32),
    };
    // Maps are nearly square, and have a colour bar above.
    let more = if sheet.scale.is_some() { 60 } else { 0 };
    (width * SCALE, (height + more) * SCALE)
}

type Drawn = Result<(), String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn style(size: u32) -> TextStyle<'static> {
    (FONT, size * SCALE).into_font().color(&INK)
}

fn draw<DB: DrawingBackend>(sheet: &Sheet, area: &DrawingArea<DB, Shift>) -> Drawn {
    area.fill(&WHITE).map_err(text)?;
    let rest = draw_head(sheet, area)?;
    let (rows, columns) = layout(sheet);
    let panels = rest.split_evenly((rows, columns));
    for (index, (panel, area)) in sheet.panels.iter().zip(panels).enumerate() {
        // Neighbours share the axis, so its name stands once.
        let is_first = index % columns == 0;
        draw_panel(panel, &area, is_first || panel.y.label != sheet.panels[0].y.label)?;
    }
    area.present().map_err(text)
}

/// Title, legend and note; returns what is left below them.
fn draw_head<DB: DrawingBackend>(
    sheet: &Sheet,
    area: &DrawingArea<DB, Shift>,
) -> Result<DrawingArea<DB, Shift>, String> {
    let s = SCALE as i32;
    let (width, _) = area.dim_in_pixel();
    let margin = 16 * s;
    let mut y = 14 * s;
    let line = |text_: &str, size: u32, y: i32| {
        let visible: String = text_.chars().filter(|c| !c.is_control()).collect();
        area.draw_text(&visible, &style(size), (margin, y)).map_err(text)
    };
    line(&sheet.title, TITLE, y)?;
    y += 30 * s;
    if !sheet.note.is_empty() {
        line(&sheet.note, TICK, y)?;
        y += 24 * s;
    }
    if let Some(scale) = &sheet.scale {
        draw_scale(scale, area, (margin, y))?;
        y += 24 * s;
    }
    let mut x = margin;
    for curve in legend(sheet) {
        let sample = 28 * s;
        let (words, _) = area.estimate_text_size(&curve.label, &style(TEXT)).map_err(text)?;
        let entry = sample + 8 * s + words as i32;
        if x > margin && x + entry > width as i32 - margin {
            x = margin;
            y += 24 * s;
        }
        let middle = y + 9 * s;
        let ends = [(x, middle), (x + sample, middle)];
        match curve.stroke {
            Stroke::Marked => {
                draw_stroke(area, &Curve { stroke: Stroke::Line, ..curve.clone() }, &ends, 0)?;
                draw_stroke(area, curve, &[(x + sample / 2, middle)], 0)?;
            }
            Stroke::Dots => draw_stroke(area, curve, &[(x + sample / 2, middle)], 0)?,
            _ => draw_stroke(area, curve, &ends, middle + 6 * s)?,
        }
        let place = Pos::new(HPos::Left, VPos::Center);
        area.draw_text(&curve.label, &style(TEXT).pos(place), (x + sample + 8 * s, middle))
            .map_err(text)?;
        x += entry + 26 * s;
    }
    let (_, below) = area.split_vertically(y + 30 * s);
    Ok(below)
}

/// The colour bar, its ends, and what it is of.
fn draw_scale<DB: DrawingBackend>(
    scale: &Scale,
    area: &DrawingArea<DB, Shift>,
    (x, y): (i32, i32),
) -> Drawn {
    let s = SCALE as i32;
    let (steps, wide, high) = (64, 4 * s, 16 * s);
    let place = Pos::new(HPos::Left, VPos::Center);
    let words = |text_: &str, at: i32| {
        area.draw_text(text_, &style(TEXT).pos(place), (at, y + high / 2)).map_err(text)
    };
    words("0", x)?;
    let first = x + 18 * s;
    for step in 0..steps {
        let [r, g, b] = viridis((f64::from(step) + 0.5) / f64::from(steps));
        let left = first + step * wide;
        let corners = [(left, y), (left + wide, y + high)];
        area.draw(&Rectangle::new(corners, RGBColor(r, g, b).filled())).map_err(text)?;
    }
    let end = first + steps * wide + 8 * s;
    words(&format!("{:.0}: {}; white: more, or no samples", scale.top, scale.label), end)
}

/// One entry for each label that has points somewhere, last drawn first: it lies on top.
fn legend(sheet: &Sheet) -> Vec<&Curve> {
    let mut entries: Vec<&Curve> = Vec::new();
    for curve in sheet.panels.iter().flat_map(|panel| panel.curves.iter().rev()) {
        if !curve.points.is_empty() && entries.iter().all(|e| e.label != curve.label) {
            entries.push(curve);
        }
    }
    entries
}

fn draw_panel<DB: DrawingBackend>(
    panel: &Panel,
    area: &DrawingArea<DB, Shift>,
    named: bool,
) -> Drawn {
    let s = SCALE;
    let ((x0, x1), (y0, y1)) = (panel.x.range, panel.y.range);
    let mut chart = ChartBuilder::on(area)
        .margin_left(12 * s)
        .margin_right(24 * s)
        .margin_top(if panel.cells.is_some() { 26 * s } else { 8 * s })
        .margin_bottom(12 * s)
        .x_label_area_size(46 * s)
        .y_label_area_size(if named { 84 * s } else { 58 * s })
        .build_cartesian_2d(x0..x1, y0..y1)
        .map_err(text)?;
    if let Some(cells) = &panel.cells {
        draw_cells(cells, area, chart.plotting_area(), panel)?;
    }
    let labels = |ticks: Ticks| if ticks == Ticks::Degrees { 0 } else { 6 };
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(labels(panel.x.ticks))
        .y_labels(labels(panel.y.ticks))
        .max_light_lines(0)
        .bold_line_style(GRID.stroke_width(s))
        .axis_style(INK.stroke_width(s))
        .set_all_tick_mark_size(5 * s)
        .label_style(style(TICK))
        .axis_desc_style(style(TEXT))
        .x_desc(panel.x.label.as_str());
    if named {
        mesh.y_desc(panel.y.label.as_str());
    }
    mesh.x_label_formatter(&|value| panel.x.text(*value))
        .y_label_formatter(&|value| panel.y.text(*value))
        .draw()
        .map_err(text)?;

    let plane = chart.plotting_area();
    let (columns, rows) = plane.get_pixel_range();
    draw_degrees(panel, area, plane)?;
    if let Some(cells) = &panel.cells {
        let (left, top) = area.get_base_pixel();
        let above = (columns.start - left, rows.start - 22 * s as i32 - top);
        area.draw_text(&cells.name, &style(TEXT), above).map_err(text)?;
    }
    let is_blank = panel.cells.as_ref().is_none_or(|c| c.values.iter().all(Option::is_none));
    if is_blank && panel.curves.iter().all(|curve| curve.points.is_empty()) {
        let middle = ((columns.start + columns.end) / 2, (rows.start + rows.end) / 2);
        let (left, top) = area.get_base_pixel();
        let centred = style(TEXT).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw_text(panel.empty, &centred, (middle.0 - left, middle.1 - top)).map_err(text)?;
    }
    for curve in &panel.curves {
        draw_curve(curve, area, plane, panel)?;
    }
    Ok(())
}

/// Ticks at multiples of 60 degrees, which plotters would not choose, and lines where there is no
/// map.
fn draw_degrees<DB: DrawingBackend>(
    panel: &Panel,
    area: &DrawingArea<DB, Shift>,
    plane: &DrawingArea<DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
) -> Drawn {
    let s = SCALE as i32;
    let (left, top) = area.get_base_pixel();
    let ((x0, _), (y0, y1)) = (panel.x.range, panel.y.range);
    for step in -3..=3 {
        let degrees = 60.0 * f64::from(step);
        if panel.x.ticks == Ticks::Degrees {
            let (x, y) = plane.map_coordinate(&(degrees, y0));
            let (x, y) = (x - left, y - top);
            let high = plane.map_coordinate(&(degrees, y1)).1 - top;
            if panel.cells.is_none() {
                let line = PathElement::new([(x, y), (x, high)], GRID.stroke_width(SCALE));
                area.draw(&line).map_err(text)?;
            }
            let tick = PathElement::new([(x, y), (x, y + 5 * s)], INK.stroke_width(SCALE));
            area.draw(&tick).map_err(text)?;
            let place = style(TICK).pos(Pos::new(HPos::Center, VPos::Top));
            area.draw_text(&panel.x.text(degrees), &place, (x, y + 8 * s)).map_err(text)?;
        }
        if panel.y.ticks == Ticks::Degrees {
            let (x, y) = plane.map_coordinate(&(x0, degrees));
            let (x, y) = (x - left, y - top);
            let tick = PathElement::new([(x - 5 * s, y), (x, y)], INK.stroke_width(SCALE));
            area.draw(&tick).map_err(text)?;
            let place = style(TICK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw_text(&panel.y.text(degrees), &place, (x - 8 * s, y)).map_err(text)?;
        }
    }
    Ok(())
}

fn draw_cells<DB: DrawingBackend>(
    cells: &Cells,
    area: &DrawingArea<DB, Shift>,
    plane: &DrawingArea<DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
    panel: &Panel,
) -> Drawn {
    let ((x0, x1), (y0, y1)) = (panel.x.range, panel.y.range);
    let (left, top) = area.get_base_pixel();
    let corner = |column: usize, row: usize| {
        let share = |bin: usize| bin as f64 / cells.bins as f64;
        let place = (x0 + share(column) * (x1 - x0), y0 + share(row) * (y1 - y0));
        let (x, y) = plane.map_coordinate(&place);
        (x - left, y - top)
    };
    for (cell, value) in cells.values.iter().enumerate() {
        let Some(value) = value else { continue };
        let (column, row) = (cell / cells.bins, cell % cells.bins);
        let ((x, bottom), (right, y)) = (corner(column, row), corner(column + 1, row + 1));
        let [r, g, b] = viridis(*value);
        let style = RGBColor(r, g, b).filled();
        area.draw(&Rectangle::new([(x, y), (right, bottom)], style)).map_err(text)?;
    }
    Ok(())
}

fn draw_curve<DB: DrawingBackend>(
    curve: &Curve,
    area: &DrawingArea<DB, Shift>,
    plane: &DrawingArea<DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
    panel: &Panel,
) -> Drawn {
    let ((x0, x1), (y0, y1)) = (panel.x.range, panel.y.range);
    let (left, top) = area.get_base_pixel();
    let pixel = |x: f64, y: f64| {
        let (column, row) = plane.map_coordinate(&(x.clamp(x0, x1), y.clamp(y0, y1)));
        (column - left, row - top)
    };
    let points: Vec<_> = curve.points.iter().map(|&(x, y)| pixel(x, y)).collect();
    draw_stroke(area, curve, &points, pixel(x0, y0).1)
}

/// Draws in pixels, for a curve and for its sample in the legend; `floor` is where an area ends.
fn draw_stroke<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    curve: &Curve,
    points: &[(i32, i32)],
    floor: i32,
) -> Drawn {
    let s = SCALE;
    let [r, g, b] = curve.color.rgb();
    let color = RGBColor(r, g, b);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Ok(());
    };
    let line = |style: ShapeStyle| {
        smooth_pieces(points)
            .into_iter()
            .try_for_each(|piece| area.draw(&PathElement::new(piece, style)).map_err(text))
    };
    let dots = |radius: u32| {
        let mut circles = points.iter().map(|&at| Circle::new(at, radius * s, color.filled()));
        circles.try_for_each(|circle| area.draw(&circle).map_err(text))
    };
    match curve.stroke {
        Stroke::Line => line(color.stroke_width(2 * s)),
        Stroke::Faint => line(color.mix(0.35).stroke_width(s)),
        Stroke::Area => {
            let mut outline = points.to_vec();
            outline.extend([(last.0, floor), (first.0, floor)]);
            area.draw(&Polygon::new(outline, color.mix(0.22).filled())).map_err(text)?;
            line(color.mix(0.8).stroke_width(s))
        }
        Stroke::Band => {
            area.draw(&Polygon::new(points.to_vec(), color.mix(0.18).filled())).map_err(text)
        }
        Stroke::Marked => {
            line(color.stroke_width(2 * s))?;
            dots(3)
        }
        Stroke::Dots => dots(5),
        Stroke::Dashed => dashes(points).into_iter().try_for_each(|dash| {
            area.draw(&PathElement::new(dash, color.stroke_width(2 * s))).map_err(text)
        }),
    }
}

/// The path cut where it turns back: plotters lets the tip of a sharp turn run out without limit.
fn smooth_pieces(points: &[(i32, i32)]) -> Vec<Vec<(i32, i32)>> {
    let mut pieces: Vec<Vec<(i32, i32)>> = vec![Vec::new()];
    let mut before = None;
    for &(x, y) in points {
        let Some(piece) = pieces.last_mut() else { break };
        match (before, piece.last().copied()) {
            (_, Some(last)) if last == (x, y) => continue,
            (Some((a, b)), Some((c, d))) if (c - a) * (x - c) + (d - b) * (y - d) < 0 => {
                pieces.push(vec![(c, d), (x, y)]);
                before = Some((c, d));
            }
            (_, last) => {
                piece.push((x, y));
                before = last;
            }
        }
    }
    pieces
}

/// A path of straight pieces cut into dashes.
fn dashes(points: &[(i32, i32)]) -> Vec<[(i32, i32); 2]> {
    let (dash, period) = (7.0 * f64::from(SCALE), 11.0 * f64::from(SCALE));
    let mut dashes = Vec::new();
    for pair in points.windows(2) {
        let (x, y) = (f64::from(pair[0].0), f64::from(pair[0].1));
        let (dx, dy) = (f64::from(pair[1].0) - x, f64::from(pair[1].1) - y);
        let length = dx.hypot(dy);
        let at = |along: f64| {
            let share = (along / length).min(1.0);
            ((x + share * dx).round() as i32, (y + share * dy).round() as i32)
        };
        let count = (length / period).ceil() as usize;
        dashes.extend((0..count).map(|index| {
            let start = index as f64 * period;
            [at(start), at(start + dash)]
        }));
    }
    dashes
}
