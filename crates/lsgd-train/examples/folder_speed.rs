//! Prepares training images of a folder on one core, as a worker's loader does: reads, decodes, crops,
//! resizes, flips, normalises. `scripts/bench_images.py` times it beside torchvision.
//!
//! ```text
//! cargo run --release -p lsgd-train --example folder_speed -- FOLDER IMAGES
//! ```

use std::error::Error;
use std::path::PathBuf;

use lsgd_train::data::{Dataset, Stream};
use lsgd_train::image_config::{Augment, DataConfig, DataName};

const BATCH_SIZE: usize = 64;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), Some(images)) = (arguments.next(), arguments.next()) else {
        return Err("give a folder with train/ and val/, and how many images to prepare".into());
    };
    let images: u64 = images.to_string_lossy().parse()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let config = DataConfig {
        name: DataName::Folder,
        folder: Some(PathBuf::from(folder)),
        augment: Augment::Paper,
        ..DataConfig::default()
    };
    pool.install(|| {
        let dataset = Dataset::open(&config, 1)?;
        let stream = Stream::new(dataset.train_len(), BATCH_SIZE, 1)?;
        let mut sum = 0.0;
        for number in 0..images / BATCH_SIZE as u64 {
            let batch = dataset.train_batch(&stream, number)?;
            sum += batch
                .images
                .iter()
                .map(|value| f64::from(*value))
                .sum::<f64>();
        }
        println!("sum of the pixels: {sum}");
        Ok(())
    })
}
