//! The inventory as a person reads it.

use std::fmt::{self, Write};

use crate::app::inventory::{
    Board, Camera, Encoder, Format, FrameSize, Inventory, Outcome, Profile, Refused, Tried, Works,
};
use crate::board::Evidence;

pub(super) fn of(inventory: &Inventory) -> String {
    let mut out = String::new();
    write_all(&mut out, inventory).expect("writing to a String cannot fail");
    out
}

fn write_all(out: &mut String, inventory: &Inventory) -> fmt::Result {
    write_board(out, &inventory.board)?;
    writeln!(out, "\nCameras")?;
    for camera in &inventory.cameras {
        write_camera(out, camera)?;
    }
    if inventory.cameras.is_empty() {
        writeln!(out, "  none")?;
    }
    writeln!(out, "\nEncoders")?;
    for encoder in &inventory.encoders {
        write_encoder(out, encoder)?;
    }
    if inventory.encoders.is_empty() {
        writeln!(out, "  none")?;
    }
    if !inventory.refused.is_empty() {
        writeln!(out, "\nCannot look at")?;
    }
    for refused in &inventory.refused {
        write_refused(out, refused)?;
    }
    if !inventory.tried.is_empty() {
        write_tried(out, &inventory.tried)?;
    }
    if !inventory.problems.is_empty() {
        writeln!(out, "\nProfiles left out")?;
    }
    for problem in &inventory.problems {
        writeln!(out, "  {problem}")?;
    }
    Ok(())
}

fn write_board(out: &mut String, board: &Board) -> fmt::Result {
    let model = board.model.as_deref().unwrap_or(&board.profile.title);
    writeln!(out, "Board")?;
    writeln!(out, "  {}, Linux {}", shown(model), shown(&board.kernel))?;
    writeln!(out, "    profile {}", profile(&board.profile))?;
    let memory = &board.memory;
    match (memory.cma_total_mb, memory.cma_free_mb) {
        (Some(total), free) => {
            let free = free.unwrap_or_default();
            write!(
                out,
                "    contiguous memory: {total} MB, {free} MB of it free"
            )?;
        }
        (None, _) => write!(out, "    no contiguous memory")?,
    }
    let needed = memory.cma_needed_mb;
    if needed > memory.cma_total_mb.unwrap_or_default() {
        write!(
            out,
            ": one camera needs {needed} MB (cma={needed}M on the kernel's command line)"
        )?;
    }
    writeln!(out)?;
    for heap in &memory.dma_heaps {
        let usable = if heap.usable {
            ""
        } else {
            ", which this user may not use: install board/udev/70-rovercast.rules"
        };
        writeln!(out, "    dma-heap {}{usable}", shown(&heap.name))?;
    }
    for id in &board.missing_encoders {
        write!(out, "    its encoder {id} was not found")?;
        match &board.hint {
            Some(hint) => writeln!(out, ": {hint}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn write_camera(out: &mut String, camera: &Camera) -> fmt::Result {
    let Camera {
        path, name, driver, ..
    } = camera;
    writeln!(
        out,
        "  {:<14}{} ({})",
        path.display().to_string(),
        shown(name),
        shown(driver)
    )?;
    if let Some(path) = &camera.lasting_path {
        writeln!(out, "    {}", path.display())?;
    }
    writeln!(out, "    profile {}", profile(&camera.profile))?;
    if camera.needs_media_controller {
        writeln!(
            out,
            "    gives pictures only after media-ctl has set up the links before it"
        )?;
    }
    write_formats(out, &camera.formats)
}

/// What can be used, one line for all that come in the same sizes, and how many others there are.
fn write_formats(out: &mut String, formats: &[Format]) -> fmt::Result {
    let (usable, others): (Vec<&Format>, Vec<&Format>) = formats.iter().partition(|it| it.usable);
    let mut left = usable;
    while let Some(first) = left.first().copied() {
        let alike = |it: &&Format| it.sizes == first.sizes && it.is_range == first.is_range;
        let (same, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(alike);
        let names: Vec<&str> = same.iter().map(|it| it.fourcc.as_str()).collect();
        writeln!(out, "    {}: {}", names.join(", "), sizes(first))?;
        left = rest;
    }
    match others.as_slice() {
        [] => Ok(()),
        [one] => writeln!(out, "    {}, which rovercast cannot use", one.fourcc),
        more => writeln!(
            out,
            "    {} other formats, which rovercast cannot use",
            more.len()
        ),
    }
}

fn sizes(format: &Format) -> String {
    let one = |size: &FrameSize| match size.fps {
        Some(fps) => format!("{} at {fps}", size.size),
        None => size.size.clone(),
    };
    let all: Vec<String> = format.sizes.iter().map(one).collect();
    if all.is_empty() {
        return "sizes that the driver does not tell".to_owned();
    }
    all.join(if format.is_range { " to " } else { ", " })
}

fn write_encoder(out: &mut String, encoder: &Encoder) -> fmt::Result {
    match (&encoder.path, &encoder.driver) {
        (Some(path), Some(driver)) => {
            let (name, driver) = (shown(&encoder.name), shown(driver));
            writeln!(out, "  {:<14}{name} ({driver})", path.display().to_string())?;
        }
        (_, _) => writeln!(out, "  {:<14}{} on the processor", "software", encoder.name)?,
    }
    writeln!(out, "    profile {}", profile(&encoder.profile))?;
    writeln!(out, "    takes {}", encoder.formats.join(", "))?;
    if encoder.path.is_some() {
        writeln!(out, "    has {}", encoder.controls.join(", "))?;
    }
    Ok(())
}

fn write_refused(out: &mut String, refused: &Refused) -> fmt::Result {
    writeln!(
        out,
        "  {:<14}{}",
        refused.path.display().to_string(),
        refused.why
    )?;
    match &refused.advice {
        Some(advice) => writeln!(out, "    {advice}"),
        None => Ok(()),
    }
}

fn write_tried(out: &mut String, tried: &[Tried]) -> fmt::Result {
    writeln!(out, "\nTried, a second each")?;
    let width = tried.iter().map(|it| it.camera.len()).max().unwrap_or(0);
    for Tried {
        camera,
        encoder,
        outcome,
        ..
    } in tried
    {
        write!(out, "  {camera:<width$} → {encoder:<13} ")?;
        match outcome {
            Outcome::Works(works) => write_works(out, works)?,
            Outcome::Fails { failure } => writeln!(out, "failed: {}", shown(failure))?,
        }
    }
    Ok(())
}

fn write_works(out: &mut String, works: &Works) -> fmt::Result {
    let Works {
        path,
        fourcc,
        size,
        fps,
        ..
    } = works;
    let copied = match works.copied_bytes_per_frame {
        0 => "nothing copied".to_owned(),
        bytes => format!("{} kB a frame copied or converted", bytes.div_ceil(1000)),
    };
    let path = path.map_or(String::new(), |path| format!(", {path}"));
    let heap = works.dma_heap.as_deref();
    let heap = heap.map_or(String::new(), |heap| format!(" {}", shown(heap)));
    writeln!(out, "{size} {fourcc}{path}{heap}: {fps} frames/s, {copied}")?;
    for refused in &works.refused_paths {
        writeln!(out, "    not {}", shown(refused))?;
    }
    Ok(())
}

fn profile(profile: &Profile) -> String {
    let sure = match profile.evidence {
        Evidence::Guess => "a guess",
        Evidence::Reported => "told by others",
        Evidence::DriverSource => "from the driver's source",
        Evidence::Measured => "measured",
    };
    format!("{} ({}): {sure}", profile.id, profile.title)
}

/// What a device calls itself must not drive the terminal.
fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}
