//! The picture of the simulated world.

use std::time::{Duration, Instant};

use openh264::formats::YUVSource;

use super::*;
use crate::media::sim::{Sim, VelocityCommand, WorldConfig};

fn stamp(number: u64) -> Stamp {
    Stamp {
        unix_ms: 1_700_000_000_000 + number * 33,
        number,
        elapsed: Duration::from_millis(number * 33),
    }
}

#[tokio::test(start_paused = true)]
async fn the_picture_moves_with_the_rover_and_stands_still_with_it() {
    let sim = Sim::start(WorldConfig::default());
    let handle = sim.handle();
    let mut renderer = Renderer::new(handle.clone(), Size::HD);
    let mut paint = |number: u64| {
        let mut picture = Picture::new(Size::HD);
        renderer.paint(&mut picture, stamp(number));
        picture
    };
    // Below the clock and beside the panels: only the world is there.
    let ground = |picture: &Picture| picture.y()[500 * 1280 + 320..500 * 1280 + 480].to_vec();
    let (first, second) = (paint(0), paint(1));
    assert_eq!(ground(&first), ground(&second));
    handle.set_velocity(VelocityCommand { linear: 1.0, angular: 0.5 });
    let mut watch = handle.watch();
    watch.wait_for(|state| state.pose.y > 0.5).await.unwrap();
    assert_ne!(ground(&first), ground(&paint(2)));
    sim.stop().await;
}

#[tokio::test(start_paused = true)]
async fn any_even_size_is_painted_and_the_luma_stays_in_the_range_of_video() {
    let sim = Sim::start(WorldConfig::default());
    for (width, height) in [(1280, 720), (1920, 1080), (640, 360), (64, 32), (2, 2)] {
        let size = Size { width, height };
        let mut picture = Picture::new(size);
        Renderer::new(sim.handle(), size).paint(&mut picture, stamp(0));
        assert!(picture.y().iter().all(|luma| (16..=235).contains(luma)), "{width}x{height}");
    }
    sim.stop().await;
}

/// Drives around and keeps a few pictures to look at: set `HALYARD_KEEP_PICTURES` to a folder, then
/// `ffmpeg -f rawvideo -pix_fmt yuv420p -s 1280x720 -i FILE out.png`. Prints what a picture costs.
#[tokio::test(start_paused = true)]
#[ignore = "prints a measurement; run it by name in release"]
async fn how_long_a_picture_takes() {
    const PICTURES: u64 = 300;
    let keep = std::env::var_os("HALYARD_KEEP_PICTURES").map(std::path::PathBuf::from);
    let sim = Sim::start(WorldConfig::default());
    let handle = sim.handle();
    let mut renderer = Renderer::new(handle.clone(), Size::HD);
    let mut picture = Picture::new(Size::HD);
    let (mut total, mut worst) = (Duration::ZERO, Duration::ZERO);
    for number in 0..PICTURES {
        let turn = if number % 120 < 60 { 0.7 } else { -0.4 };
        handle.set_velocity(VelocityCommand { linear: 1.2, angular: turn });
        tokio::time::sleep(Duration::from_millis(33)).await;
        let begun = Instant::now();
        renderer.paint(&mut picture, stamp(number));
        total += begun.elapsed();
        worst = worst.max(begun.elapsed());
        if let Some(folder) = &keep
            && number % 60 == 20
        {
            std::fs::write(folder.join(format!("{number}.yuv")), picture.bytes()).unwrap();
        }
    }
    println!("{:?} a picture, the slowest {worst:?}", total / PICTURES as u32);
    sim.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_over_a_picture_that_it_would_cover() {
    let sim = Sim::start(WorldConfig::default());
    let state = sim.handle().watch().borrow().clone();
    for (width, height, is_written_over) in [(640, 360, true), (480, 270, false), (320, 180, false)]
    {
        let size = Size { width, height };
        let mut picture = Picture::new(size);
        let before = picture.y().to_vec();
        Hud::new(size).paint(&mut picture, &state, 0, &[]);
        assert_eq!(picture.y() != before, is_written_over, "{size:?}");
    }
    sim.stop().await;
}

#[tokio::test(start_paused = true)]
async fn it_is_painted_in_every_size_that_a_rendition_may_have() {
    let sim = Sim::start(WorldConfig::default());
    for height in [44, 90, 180, 270, 404, 540] {
        let size = Size { width: (height * 16 / 9) & !1, height };
        let mut picture = Picture::new(size);
        Renderer::new(sim.handle(), size).paint(&mut picture, stamp(1));
        assert!(picture.y().iter().any(|luma| *luma > 30), "{size:?} is not black");
    }
    sim.stop().await;
}
