//! Makes the files of a release. `.github/workflows/release.yml` signs and publishes them.
//!
//! | File | Content |
//! |---|---|
//! | `sluice.wasm` | the component |
//! | `spin.toml` | the manifest, which takes the component by URL and digest |
//! | `sluice.cdx.json` | the component's [SBOM](crate::sbom) |
//! | `SHA256SUMS` | the checksums of these files, as `sha256sum --check` reads them |
//! | `install.md` | the text of the release's page: docs/install.md with the URLs of this release |

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use clap::Args;
use xtask::component::{self, MIN_HEAP, Profile};
use xtask::shell::{command, output, run, target};

use crate::sbom;

/// Version of Sluice and of its tools.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The repository's address in the documents, in place of which a release has its own.
const PLACEHOLDER: &str = "https://github.com/OWNER/REPO";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Address of the repository that publishes the files
    #[arg(long, default_value = PLACEHOLDER)]
    repository: String,
    /// Directory for the files, target/dist by default
    #[arg(long)]
    out: Option<PathBuf>,
    /// Builds the component again, from the commit, in another folder and with another home of cargo, and compares
    #[arg(long)]
    twice: bool,
}

pub(crate) fn make(arguments: &Arguments) -> Result<()> {
    component::build()?;
    let module = Profile::Release.module();
    if arguments.twice {
        build_again(&module)?;
    }
    let out = arguments.out.clone().unwrap_or_else(|| target().join("dist"));
    fs::create_dir_all(&out)?;
    fs::copy(&module, out.join("sluice.wasm"))?;

    let repository = arguments.repository.trim_end_matches('/');
    let digest = digest(&module)?;
    let manifest = manifest(&fs::read_to_string("spin.toml")?, repository, &digest)?;
    fs::write(out.join("spin.toml"), manifest)?;

    let rustc = output(&mut command(component::compiler(Profile::Release)?.rustc, ["--version"]))?;
    let build = sbom::Build { digest: &digest, rustc: &rustc, version: VERSION };
    let sbom = sbom::document(&build, &sbom::tree()?, &fs::read_to_string("Cargo.lock")?)?;
    fs::write(out.join("sluice.cdx.json"), format!("{sbom:#}\n"))?;

    let page = install_page(&fs::read_to_string("docs/install.md")?, repository, &digest);
    fs::write(out.join("install.md"), page)?;

    let files = ["sluice.cdx.json", "sluice.wasm", "spin.toml"];
    let sums = output(command("sha256sum", files).current_dir(&out))?;
    fs::write(out.join("SHA256SUMS"), format!("{sums}\n"))?;
    println!("{sums}\nin {}, of {rustc}", out.display());
    Ok(())
}

/// Builds the component again from the last commit, in a new folder with a new home of cargo. It is an error if the
/// bytes differ, before or after `wasm-opt`.
fn build_again(first: &Path) -> Result<()> {
    let folder = env::temp_dir().join(format!("sluice-again-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let archive = folder.join("tree.tar");
    run(command("git", ["archive", "--output"]).arg(&archive).arg("HEAD"))?;
    let tree = folder.join("tree");
    fs::create_dir_all(&tree)?;
    run(command("tar", ["--extract", "--file"]).arg(archive).arg("--directory").arg(&tree))?;

    let home = folder.join("home");
    share_downloads(&component::cargo_home()?, &home)?;
    let mut compiler = component::compiler(Profile::Release)?;
    compiler.set_cargo_home(&home);
    let target = folder.join("target");
    run(compiler.command.current_dir(&tree).env("CARGO_TARGET_DIR", &target))?;
    let second = target.join(component::TARGET).join("release/sluice.wasm");
    component::shrink(&second, MIN_HEAP)?;

    for (what, first, second) in [
        ("before wasm-opt", &component::plain(first), &component::plain(&second)),
        ("after wasm-opt", &first.to_owned(), &second),
    ] {
        let [one, other] = [digest(first)?, digest(second)?];
        println!("{what}:\n  {one}  {}\n  {other}  {}", first.display(), second.display());
        if one != other {
            bail!("the two builds differ {what}: see {}; the second one has only what is committed", folder.display());
        }
    }
    Ok(fs::remove_dir_all(folder)?)
}

/// Creates a home of cargo that unpacks crates into a folder of its own, without downloading them again.
fn share_downloads(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.join("registry"))?;
    for shared in ["config.toml", "registry/cache", "registry/index"] {
        if from.join(shared).exists() {
            std::os::unix::fs::symlink(from.join(shared), to.join(shared))?;
        }
    }
    Ok(())
}

/// SHA-256 of a file, in hex.
fn digest(file: &Path) -> Result<String> {
    let line = output(command("sha256sum", ["--"]).arg(file))?;
    Ok(line.split(' ').next().unwrap_or_default().trim_start_matches('\\').to_owned())
}

/// Where a release of this version has its files.
fn files_url(repository: &str) -> String {
    format!("{repository}/releases/download/v{VERSION}")
}

/// `spin.toml` with the component by URL and digest, and without the commands that build it.
fn manifest(tree: &str, repository: &str, digest: &str) -> Result<String> {
    let url = files_url(repository);
    let source = "source = \"target/wasm32-wasip1/release/sluice.wasm\"";
    let (before, after) = tree.split_once(source).with_context(|| format!("spin.toml lacks {source}"))?;
    let (kept, _) = after.split_once("\n[component.sluice.build]").context("spin.toml lacks the table `build`")?;
    Ok(format!("{before}source = {{ url = \"{url}/sluice.wasm\", digest = \"sha256:{digest}\" }}{kept}"))
}

/// docs/install.md as a page of its own: with the repository's address, the digest, and links into the repository.
fn install_page(page: &str, repository: &str, digest: &str) -> String {
    // The paragraph about the placeholder.
    let kept: Vec<_> = page.split("\n\n").filter(|paragraph| !paragraph.starts_with("Replace `OWNER/REPO`")).collect();
    let page = kept.join("\n\n").replace(PLACEHOLDER, repository);
    let page = page.replace("OWNER/REPO", slug(repository)).replace("DIGEST", digest);
    let files = format!("{repository}/blob/v{VERSION}");
    let mut parts = page.split("](");
    let mut absolute = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        absolute.push_str("](");
        let is_complete = part.starts_with("https://") || part.starts_with('#');
        let target = match part.strip_prefix("../") {
            Some(path) => format!("{files}/{path}"),
            None if is_complete => part.to_owned(),
            None => format!("{files}/docs/{part}"),
        };
        absolute.push_str(&target);
    }
    absolute
}

/// The repository's owner and name.
fn slug(repository: &str) -> &str {
    let name = repository.rfind('/').unwrap_or_default();
    let owner = repository.get(..name).and_then(|before| before.rfind('/')).map_or(0, |slash| slash + 1);
    repository.get(owner..).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const REPOSITORY: &str = "https://github.com/acme/sluice";

    fn read(path: &str) -> String {
        fs::read_to_string(xtask::shell::root().join(path)).unwrap()
    }

    #[test]
    fn manifest_differs_from_the_tree_in_the_source_and_the_build_only() {
        let tree: toml::Table = read("spin.toml").parse().unwrap();
        let made = manifest(&read("spin.toml"), REPOSITORY, "c0").unwrap();
        let made: toml::Table = made.parse().unwrap();
        let source = &made["component"]["sluice"]["source"];
        assert_eq!(source["url"].as_str().unwrap(), format!("{REPOSITORY}/releases/download/v{VERSION}/sluice.wasm"));
        assert_eq!(source["digest"].as_str(), Some("sha256:c0"));
        let others = |mut manifest: toml::Table| {
            let component = manifest["component"]["sluice"].as_table_mut().unwrap();
            component.retain(|name, _| name != "source" && name != "build");
            manifest
        };
        assert!(!made["component"]["sluice"].as_table().unwrap().contains_key("build"));
        assert_eq!(others(made), others(tree));
    }

    #[test]
    fn install_page_names_the_repository_and_links_into_it() {
        let page = "Replace `OWNER/REPO`.\n\n\
            `OWNER/REPO` [a](../spin.toml) [b](drain.md#x) [c](#y) [d](https://github.com/OWNER/REPO)";
        let files = format!("{REPOSITORY}/blob/v{VERSION}");
        assert_eq!(
            install_page(page, REPOSITORY, "c0"),
            format!("`acme/sluice` [a]({files}/spin.toml) [b]({files}/docs/drain.md#x) [c](#y) [d]({REPOSITORY})")
        );
        let page = install_page(&read("docs/install.md"), REPOSITORY, "c0");
        assert!(!page.contains("OWNER/REPO") && !page.contains("](../"), "{page}");
    }
}
