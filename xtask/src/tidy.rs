//! Rules of the house that no compiler checks: layering, purity, file sizes, module documentation, wording.

mod layers;
mod sources;

use anyhow::{Result, bail};

/// Checks everything and reports every breach.
pub fn run() -> Result<()> {
    let mut breaches = layers::check()?;
    breaches.extend(sources::check()?);
    if !breaches.is_empty() {
        bail!("{} breaches:\n  {}", breaches.len(), breaches.join("\n  "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        super::run().unwrap();
    }
}
