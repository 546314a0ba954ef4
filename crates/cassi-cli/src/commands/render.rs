//! `cassi render`: a cube, a snapshot or a mask as a picture.

use std::path::PathBuf;

use anyhow::bail;
use cassi_core::colour::Illuminant;
use cassi_io::Source;
use cassi_report::{Picture, Rendering, band_picture, colour_picture, montage, plane_picture};

use super::Outcome;
use crate::context::Context;
use crate::inputs::{self, AxisOptions};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi render x.h5 -o x.png                          colours under D65
  cassi render x.h5 --band 550 -o band.png            one band, in the colour of its wavelength
  cassi render x.h5 --montage -o bands.png            all bands
  cassi render x.h5 --light a --exposure 1.5 -o warm.png
  cassi render y.h5 -o snapshot.png                   a snapshot or mask, in grey")]
pub(crate) struct Args {
    /// A cube, snapshot or mask: FILE, or FILE:VARIABLE
    input: String,
    /// Only the band nearest to this wavelength in nm
    #[arg(long, value_name = "NM", conflicts_with = "montage")]
    band: Option<f64>,
    /// All bands, side by side
    #[arg(long)]
    montage: bool,
    /// The light on the scene: d65, a, f2, f11, led-b3, hp1, or e for cubes that hold radiance
    #[arg(long, value_name = "NAME", default_value = "d65")]
    light: String,
    /// Factor on the brightness [default: the brightest half percent becomes full]
    #[arg(long, value_name = "X")]
    exposure: Option<f64>,
    /// Where to write the picture (.png)
    #[arg(short, long, value_name = "FILE.png")]
    output: PathBuf,
    #[command(flatten)]
    axes: AxisOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    if !args.output.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
        bail!("{}: pictures are written as .png", args.output.display());
    }
    let illuminant: Illuminant = args.light.parse()?;
    if args.exposure.is_some_and(|x| !(x.is_finite() && x > 0.0)) {
        bail!("--exposure: expected a positive number");
    }
    let source = Source::parse(&args.input);
    inputs::refuse_overwriting(&args.output, &[&source.path])?;
    let (picture, said): (Picture, String) = match inputs::kind_of(&source)? {
        inputs::Kind::Snapshot => {
            let (snapshot, _, _) = inputs::snapshot(&args.input, context)?;
            plane_picture(snapshot.view())
        }
        inputs::Kind::Mask => {
            let standard = inputs::instrument_by_name("standard")?;
            let (found, _) = inputs::mask_file(&args.input, &standard, context)?;
            plane_picture(found.mask.view())
        }
        inputs::Kind::Array => {
            // A plane without a name that tells: grey, like a snapshot.
            let (snapshot, _, _) = inputs::snapshot(&args.input, context)?;
            plane_picture(snapshot.view())
        }
        inputs::Kind::Tensors => bail!("{}: a checkpoint cannot be drawn", source.path.display()),
        inputs::Kind::Cube => {
            let (cube, _, _) = inputs::cube(&args.input, &args.axes, context)?;
            if let Some(nm) = args.band {
                let band = cube.wavelengths().nearest(nm);
                let nm = cube.wavelengths().nm()[band];
                (
                    band_picture(&cube, band, None),
                    format!("band {band}, {nm} nm, black = 0, full = its maximum"),
                )
            } else if args.montage {
                (montage(&cube), "all bands on one scale, full = the largest value".into())
            } else {
                let rendering = Rendering { illuminant, exposure: args.exposure };
                (colour_picture(&cube, rendering), format!("sRGB, D65 white, light {}", illuminant.name()))
            }
        }
    };
    cassi_io::write_bytes(&args.output, &picture.to_png()?)?;
    if context.json {
        context.print_json(&serde_json::json!({
            "output": args.output, "width": picture.width, "height": picture.height, "scaling": said,
        }))?;
    } else {
        context.say(format!(
            "{}: {}x{} pixels; {said}",
            args.output.display(),
            picture.width,
            picture.height
        ));
    }
    Ok(Outcome::Done)
}
