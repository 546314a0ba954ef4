//! What a training leaves behind to look at: `metrics.csv`, a TensorBoard event file, `loss.svg`, pictures.
//!
//! The event file is TFRecord: length, masked CRC-32C of the length, the message, masked CRC-32C of the message; the
//! message is a protocol buffer `Event { wall_time = 1, step = 2, file_version = 3, summary = 5 }` whose summary holds
//! values `{ tag = 1, simple_value = 2 }`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cassi_io::IoError;

/// Name of the table.
pub(super) const TABLE: &str = "metrics.csv";

/// One row of the metrics; what was not measured is empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) step: u64,
    pub(crate) seconds: f64,
    pub(crate) samples: u64,
    pub(crate) rate: f64,
    pub(crate) loss: Option<f64>,
    pub(crate) psnr: Option<f64>,
}

const HEADER: &str = "step,seconds,samples,rate,loss,validation_psnr_unit_peak";

/// The growing files of one training.
#[derive(Debug)]
pub(crate) struct Log {
    folder: PathBuf,
    rows: Vec<Row>,
    csv: File,
    events: File,
}

fn failed(path: &Path, source: std::io::Error) -> IoError {
    IoError::Write { path: path.into(), source }
}

impl Log {
    /// Opens the files of a folder, dropping rows after `step`: a resumed training writes them again.
    pub(crate) fn open(folder: &Path, step: u64) -> Result<Self, IoError> {
        cassi_io::ensure_folder(folder)?;
        let path = folder.join(TABLE);
        let rows: Vec<Row> = match path.exists() {
            true => cassi_io::read_text(&path)?
                .lines()
                .skip(1)
                .filter_map(parse)
                .filter(|r| r.step <= step)
                .collect(),
            false => Vec::new(),
        };
        let text: String = rows.iter().map(format_row).collect();
        cassi_io::write_bytes(&path, format!("{HEADER}\n{text}").as_bytes())?;
        let append = |path: &Path| {
            OpenOptions::new().create(true).append(true).open(path).map_err(|e| failed(path, e))
        };
        let csv = append(&path)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let events = append(&folder.join(format!("events.out.tfevents.{}.cassi", now.as_secs())))?;
        let mut log = Self { folder: folder.into(), rows, csv, events };
        log.write_event(0, &Payload::Version)?;
        Ok(log)
    }

    pub(crate) fn add(&mut self, row: Row) -> Result<(), IoError> {
        let path = self.folder.join(TABLE);
        self.csv.write_all(format_row(&row).as_bytes()).map_err(|e| failed(&path, e))?;
        let scalars = [("loss", row.loss), ("validation/psnr_unit_peak", row.psnr), ("rate", Some(row.rate))];
        for (tag, value) in scalars {
            if let Some(value) = value {
                self.write_event(row.step, &Payload::Scalar(tag, value as f32))?;
            }
        }
        self.rows.push(row);
        Ok(())
    }

    fn write_event(&mut self, step: u64, payload: &Payload<'_>) -> Result<(), IoError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let path = self.folder.clone();
        self.events.write_all(&record(&event(now, step, payload))).map_err(|e| failed(&path, e))
    }

    /// Draws loss and validation over the steps into `loss.svg`.
    pub(crate) fn draw(&self) -> Result<(), IoError> {
        cassi_io::write_bytes(&self.folder.join("loss.svg"), svg(&self.rows).as_bytes())
    }
}

fn format_row(row: &Row) -> String {
    let optional = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.6}"));
    format!(
        "{},{:.1},{},{:.3e},{},{}\n",
        row.step,
        row.seconds,
        row.samples,
        row.rate,
        optional(row.loss),
        optional(row.psnr)
    )
}

fn parse(line: &str) -> Option<Row> {
    let mut cells = line.split(',');
    let mut next = || cells.next();
    Some(Row {
        step: next()?.parse().ok()?,
        seconds: next()?.parse().ok()?,
        samples: next()?.parse().ok()?,
        rate: next()?.parse().ok()?,
        loss: next()?.parse().ok(),
        psnr: next()?.parse().ok(),
    })
}

enum Payload<'a> {
    Version,
    Scalar(&'a str, f32),
}

fn event(wall_time: f64, step: u64, payload: &Payload<'_>) -> Vec<u8> {
    const DOUBLE: u8 = 1;
    const BYTES: u8 = 2;
    const FLOAT: u8 = 5;
    let tag = |field: u8, wire: u8| field << 3 | wire;
    let bytes = |field: u8, content: &[u8]| {
        let mut out = vec![tag(field, BYTES)];
        varint(content.len() as u64, &mut out);
        [out, content.to_vec()].concat()
    };
    let mut out = vec![tag(1, DOUBLE)];
    out.extend(wall_time.to_le_bytes());
    out.push(tag(2, 0));
    varint(step, &mut out);
    match payload {
        Payload::Version => out.extend(bytes(3, b"brain.Event:2")),
        Payload::Scalar(name, value) => {
            let mut summary_value = bytes(1, name.as_bytes());
            summary_value.push(tag(2, FLOAT));
            summary_value.extend(value.to_le_bytes());
            out.extend(bytes(5, &bytes(1, &summary_value)));
        }
    }
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), message, &masked(message).to_le_bytes()].concat()
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a few hundred bytes a second need no table.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// Two curves over the steps: the loss on a logarithmic axis, the validation on a linear one.
fn svg(rows: &[Row]) -> String {
    const WIDTH: f64 = 900.0;
    const HEIGHT: f64 = 260.0;
    const LEFT: f64 = 70.0;
    let last = rows.iter().map(|r| r.step).max().unwrap_or(1).max(1) as f64;
    let panel = |top: f64, title: &str, points: Vec<(f64, f64)>, label: &dyn Fn(f64) -> String| {
        let low = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
        let span = (high - low).max(1e-9);
        let place = |(x, y): (f64, f64)| {
            format!("{:.1},{:.1}", LEFT + x / last * WIDTH, top + HEIGHT * (1.0 - (y - low) / span))
        };
        let path: Vec<String> = points.iter().copied().map(place).collect();
        let mut out = format!(
            "<text x=\"{LEFT}\" y=\"{:.0}\">{title}</text>\n<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>\n<polyline fill=\"none\" stroke=\"#06c\" \
             points=\"{}\"/>\n",
            top - 8.0,
            path.join(" ")
        );
        if !points.is_empty() {
            for (y, value) in [(top + 12.0, high), (top + HEIGHT, low)] {
                out += &format!("<text x=\"4\" y=\"{y:.0}\">{}</text>\n", label(value));
            }
        }
        out
    };
    let curve = |pick: &dyn Fn(&Row) -> Option<f64>| -> Vec<(f64, f64)> {
        rows.iter().filter_map(|r| Some((r.step as f64, pick(r).filter(|v| v.is_finite())?))).collect()
    };
    let loss = curve(&|r| r.loss.map(|l| l.max(1e-12).log10()));
    let psnr = curve(&|r| r.psnr);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"660\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"1000\" height=\"660\" fill=\"#fff\"/>\n{}{}<text x=\"{LEFT}\" \
         y=\"650\">step 0 to {last}</text>\n</svg>\n",
        panel(30.0, "loss (logarithmic)", loss, &|v| format!("{:.4}", 10f64.powf(v))),
        panel(350.0, "validation, unit-peak PSNR (dB), mean over scenes", psnr, &|v| format!("{v:.2}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn castagnoli_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn an_event_reads_back() {
        // field 1 (double) 1.5, field 2 (varint) 300, field 5 { 1 { 1: "loss", 2: 0.5 } }
        let message = event(1.5, 300, &Payload::Scalar("loss", 0.5));
        assert_eq!(message[..9], [&[0x09][..], &1.5f64.to_le_bytes()].concat()[..]);
        assert_eq!(message[9..12], [0x10, 0xac, 0x02]);
        assert_eq!(message[12..22], [0x2a, 13, 0x0a, 11, 0x0a, 4, b'l', b'o', b's', b's']);
        assert_eq!(message[22..], [&[0x15][..], &0.5f32.to_le_bytes()].concat()[..]);
        assert_eq!(record(&message).len(), message.len() + 16);
    }

    #[test]
    fn rows_survive_the_file() {
        let row = Row { step: 7, seconds: 1.5, samples: 28, rate: 1e-3, loss: Some(0.25), psnr: None };
        assert_eq!(parse(format_row(&row).trim_end()), Some(row));
    }
}
