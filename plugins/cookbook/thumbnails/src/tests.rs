use image::{DynamicImage, ImageFormat};
use notifyit_plugin_api::json;
use notifyit_plugin_api::testing::TestHost;

use super::*;

fn start(more: &[(&str, u64)]) -> (TestHost, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    let mut config = json!({ "out": out.path() });
    for (key, value) in more {
        config[key] = json!(value);
    }
    (TestHost::start::<Thumbnails>(config).unwrap(), out)
}

fn image(format: ImageFormat) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    DynamicImage::new_rgb8(400, 100).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn size(file: &Path) -> (u32, u32) {
    image::image_dimensions(file).unwrap()
}

#[test]
fn a_small_image_is_made_of_each_whatever_its_name_says() {
    let (mut host, out) = start(&[]);
    host.write("sub/cat.png", image(ImageFormat::Png)).assert_done();
    host.write("cat.png", image(ImageFormat::Jpeg)).assert_done();
    assert_eq!(size(&out.path().join("sub/cat.png.jpg")), (200, 50));
    assert_eq!(size(&out.path().join("cat.png.jpg")), (200, 50));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2, "nothing is left beside them");

    let (mut host, out) = start(&[("side", 1000)]);
    host.write("cat.png", image(ImageFormat::Png)).assert_done();
    assert_eq!(size(&out.path().join("cat.png.jpg")), (400, 100), "none is enlarged");
}

#[test]
fn what_is_no_image_is_rejected() {
    let (mut host, out) = start(&[]);
    host.write("text.png", "text").assert_reject("no image");
    host.write("empty.png", "").assert_reject("no image");
    let png = image(ImageFormat::Png);
    host.write("cut.png", &png[..png.len() / 2]).assert_reject("no image");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn what_would_take_too_much_memory_is_rejected() {
    let (mut host, _out) = start(&[("max_memory", 100_000)]);
    host.write("large.png", image(ImageFormat::Png)).assert_reject("no image");
}

#[test]
fn a_name_that_gets_too_long_is_rejected() {
    let (mut host, _out) = start(&[]);
    host.write("x".repeat(253), image(ImageFormat::Png)).assert_reject("its name is too long");
}

#[test]
fn its_own_work_in_the_watched_directory_is_left_alone() {
    let out = std::env::temp_dir(); // The test's own directory is there.
    let mut host = TestHost::start::<Thumbnails>(json!({ "out": out })).unwrap();
    let name = format!("notifyit-{}.png", std::process::id());
    host.write(&name, image(ImageFormat::Png)).assert_done();
    assert!(!out.join(name + ".jpg").exists());
}
