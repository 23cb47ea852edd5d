//! The bench (placeholder while the rest is written).
use std::process::ExitCode;
pub(crate) struct Options;
impl Options {
    pub(crate) fn parse(_: &[&str]) -> anyhow::Result<Self> {
        Ok(Self)
    }
}
pub(crate) fn help() -> &'static str {
    ""
}
pub(crate) fn run(_: &Options) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::FAILURE)
}
