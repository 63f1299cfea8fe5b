//! A folder of pictures, as ImageNet is one, through the config that is for ImageNet.

use std::path::Path;

use image::{Rgb, RgbImage};

use super::program::Runs;

/// Pictures of a class: of its own colour, and each of another size.
fn draw(folder: &Path, class: u8, count: u32) {
    let folder = folder.join(format!("class-{class}"));
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..count {
        let (width, height) = (230 + 17 * number, 300 - 13 * number);
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let shade = |weight: u32| ((x * weight + y * (number + 1)) % 96) as u8;
            Rgb([shade(1) + 80 * class, shade(2), shade(3)])
        });
        let format = if number % 2 == 0 { "jpg" } else { "png" };
        picture
            .save(folder.join(format!("{number}.{format}")))
            .unwrap();
    }
}

/// Two workers of ResNet-50 on crops of 224 x 224; the steps are few, for they take seconds.
#[test]
fn the_imagenet_config_trains_on_a_folder_of_pictures() {
    let runs = Runs::new();
    let pictures = runs.path().join("pictures");
    for class in 0..2 {
        draw(&pictures.join("train"), class, 4);
        draw(&pictures.join("val"), class, 1);
    }
    let folder = format!(
        "data.folder={}",
        toml::Value::from(pictures.to_string_lossy().as_ref())
    );
    let run = runs.train(
        "configs/imagenet.toml",
        "imagenet",
        &[
            &folder,
            "data.batch_size=2",
            "workers.count=2",
            "run.mode=sync",
            "method.local_period=1",
            "method.loss_window=1",
            "budget.steps=2",
            "evaluate.every_steps=2",
            "evaluate.batch_norm_batches=1",
            "checkpoint.every_steps=2",
        ],
    );
    let summary = run.summary();
    assert_eq!(
        (&summary["steps"], &summary["samples"]),
        (&2.into(), &8.into())
    );
    let exchanges = run.events("exchange");
    assert_eq!(exchanges.len(), 2);
    // ResNet-50 with two classes: 23,512,130 parameters and 53,120 running statistics.
    assert_eq!(exchanges[0]["bytes"], 4 * (23_512_130 + 53_120));
    assert!(summary["test"]["leader"]["error"].is_number());
}
