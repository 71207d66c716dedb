//! The Universal Scalability Law: what contention and coherence cost as cores are added.
//!
//! Throughput on n cores is `λn / (1 + σ(n-1) + κn(n-1))` (Gunther, "A General Theory of Computational Scalability Based on
//! Rational Functions", 2008).

use serde::Serialize;

/// The three numbers of the law.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Law {
    /// What one core does, a second.
    pub(super) per_core: f64,
    /// The part of the work that waits for others (contention).
    pub(super) contention: f64,
    /// What keeping the cores' views alike costs (coherence).
    pub(super) coherence: f64,
}

/// The law that fits points of (cores, throughput) best by least squares of n/X; `None` with fewer than four.
pub(super) fn fit(points: &[(f64, f64)]) -> Option<Law> {
    if points.len() < 4 || points.iter().any(|&(_, rate)| rate <= 0.0) {
        return None;
    }
    // n/X = a + b(n-1) + c n(n-1), with a = 1/λ, b = σ/λ, c = κ/λ: three normal equations.
    let mut equations = [[0.0; 4]; 3];
    for &(cores, rate) in points {
        let row = [1.0, cores - 1.0, cores * (cores - 1.0)];
        for (equation, factor) in equations.iter_mut().zip(row) {
            for (sum, value) in equation.iter_mut().zip([row[0], row[1], row[2], cores / rate]) {
                *sum += factor * value;
            }
        }
    }
    let [a, b, c] = solve(equations)?;
    Some(Law { per_core: 1.0 / a, contention: b / a, coherence: c / a })
}

/// Solves three linear equations by elimination.
fn solve(mut rows: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for pivot in 0..3 {
        let best = (pivot..3).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()))?;
        rows.swap(pivot, best);
        if rows[pivot][pivot].abs() < 1e-300 {
            return None;
        }
        for other in 0..3 {
            if other != pivot {
                let factor = rows[other][pivot] / rows[pivot][pivot];
                let row = rows[pivot];
                rows[other].iter_mut().zip(row).for_each(|(value, own)| *value -= factor * own);
            }
        }
    }
    Some([0, 1, 2].map(|row| rows[row][3] / rows[row][row]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_is_found_in_its_own_points() {
        let law = Law { per_core: 3e6, contention: 0.03, coherence: 0.002 };
        let rate =
            |n: f64| law.per_core * n / (1.0 + law.contention * (n - 1.0) + law.coherence * n * (n - 1.0));
        let points: Vec<_> = (1..=8).map(|n| (f64::from(n), rate(f64::from(n)))).collect();
        let found = fit(&points).expect("eight points");
        assert!((found.per_core / 3e6 - 1.0).abs() < 1e-6, "{found:?}");
        assert!(
            (found.contention - 0.03).abs() < 1e-6 && (found.coherence - 0.002).abs() < 1e-6,
            "{found:?}"
        );
        assert_eq!(fit(&points[..3]), None);
    }
}
