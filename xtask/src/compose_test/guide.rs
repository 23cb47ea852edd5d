//! Follows DEPLOYMENT.md: every block marked `sh` is run as it stands, in order, with this
//! machine's name and ports in the place of the example's.

use super::shell::{LONG, SHORT, Shell};
use super::{Options, Tally};

/// The commands of one fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    /// Where it begins in the guide.
    line: usize,
    heading: &'a str,
    commands: String,
}

/// Runs the guide. The first command that fails ends it: what follows builds on it.
pub(super) fn follow(shell: &Shell, options: &Options, tally: &mut Tally) -> anyhow::Result<()> {
    let guide = shell.read("DEPLOYMENT.md")?;
    for Block { line, heading, commands } in blocks(&guide) {
        let commands = here(&commands, shell, options.tag.is_none());
        let builds = commands.contains("compose build");
        if builds {
            println!("building the images, which takes long the first time");
        }
        shell.fetch_ca();
        if commands.contains("curl ") {
            // A reader has waited, too, until `docker compose ps` shows that all is well.
            shell.until_ready()?;
        }
        let failed = tally.failed;
        let name = format!("DEPLOYMENT.md:{line}, {heading}");
        let bound = if builds { LONG } else { SHORT };
        tally.check(&name, || shell.run(&commands, bound).map(drop))?;
        if tally.failed > failed {
            anyhow::bail!("the guide cannot be followed further than line {line}");
        }
    }
    Ok(())
}

/// The blocks marked `sh`.
fn blocks(guide: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut heading = "";
    let mut open: Option<Block<'_>> = None;
    for (index, line) in guide.lines().enumerate() {
        match (&mut open, line) {
            (None, "```sh") => {
                open = Some(Block { line: index + 1, heading, commands: String::new() });
            }
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), _) => {
                block.commands.push_str(line);
                block.commands.push('\n');
            }
            (None, _) if line.starts_with('#') => heading = line.trim_start_matches(['#', ' ']),
            (None, _) => {}
        }
    }
    blocks
}

/// The commands for this machine.
fn here(commands: &str, shell: &Shell, build: bool) -> String {
    let commands = commands
        .replace("https://app.example.com", &format!("https://localhost:{}", shell.https))
        .replace("http://app.example.com", &format!("http://localhost:{}", shell.http))
        .replace("app.example.com", "localhost");
    let wanted = |line: &&str| build || !line.starts_with("docker compose build");
    commands.lines().filter(wanted).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_shell_are_commands() {
        let guide =
            "# A\n```sh\none\ntwo\n```\ntext\n```toml\nkey = 1\n```\n## B\n```sh\nthree\n```\n";
        let found = blocks(guide);
        assert_eq!(
            found,
            [
                Block { line: 2, heading: "A", commands: "one\ntwo\n".to_owned() },
                Block { line: 11, heading: "B", commands: "three\n".to_owned() },
            ]
        );
    }

    #[test]
    fn the_guide_of_this_project_has_commands() {
        let guide = std::fs::read_to_string(crate::root().join("DEPLOYMENT.md")).unwrap();
        assert!(blocks(&guide).iter().any(|block| block.commands.contains("deploy/backup")));
    }
}
