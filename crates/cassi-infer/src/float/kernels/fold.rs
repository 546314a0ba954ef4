//! From the channel Gram matrix to the one matrix that attention is: scores, softmax and projection, in f64.

/// What a block's attention is made of; all matrices `[row][column]` without padding.
pub(crate) struct FoldJob<'a> {
    /// `S = Σ x xᵀ`, c x c.
    pub(crate) gram: &'a [f64],
    /// Channels c, and those of a head.
    pub(crate) channels: usize,
    pub(crate) head: usize,
    pub(crate) query: &'a [f32],
    pub(crate) key: &'a [f32],
    pub(crate) projection: &'a [f32],
    /// One factor a head.
    pub(crate) rescale: &'a [f32],
}

/// Memory of [`fold`].
#[derive(Debug, Default)]
pub(crate) struct FoldMemory {
    key_gram: Vec<f64>,
    query_gram: Vec<f64>,
    attention: Vec<f64>,
    /// `M = P blockdiag(A)`, c x c.
    pub(crate) mix: Vec<f64>,
}

/// `M = P blockdiag(A)`, `A[i][j] = softmax_j(rescale · kᵢᵀ qⱼ / (‖kᵢ‖ ‖qⱼ‖))` head by head, over the query channel j.
///
/// Inner loops run along rows, so that the compiler can use whole registers.
#[inline(always)]
pub(super) fn fold(job: &FoldJob<'_>, memory: &mut FoldMemory) {
    let (c, head) = (job.channels, job.head);
    let FoldMemory { key_gram, query_gram, attention, mix } = memory;
    weigh(job.key, job.gram, c, key_gram);
    weigh(job.query, job.gram, c, query_gram);
    // Norms, of which the published code bounds each from below by 1e-12 (torch's `normalize`).
    let norm = |gram: &[f64], weights: &[f32], i: usize| -> f64 {
        let rows = gram[i * c..(i + 1) * c].iter().zip(&weights[i * c..(i + 1) * c]);
        rows.map(|(s, &w)| s * f64::from(w)).sum::<f64>().max(0.0).sqrt().max(1e-12)
    };
    attention.clear();
    attention.resize(c * head, 0.0);
    for i in 0..c {
        let first = i / head * head;
        let row = &mut attention[i * head..(i + 1) * head];
        let factor = f64::from(job.rescale[i / head]) / norm(key_gram, job.key, i);
        for (j, value) in row.iter_mut().enumerate() {
            let query = &job.query[(first + j) * c..][..c];
            // Four sums at once: one alone would wait for each addition.
            let mut sums = [0.0; 4];
            for (s, q) in key_gram[i * c..(i + 1) * c].chunks(4).zip(query.chunks(4)) {
                for ((sum, s), &q) in sums.iter_mut().zip(s).zip(q) {
                    *sum += s * f64::from(q);
                }
            }
            *value = factor * (sums[0] + sums[1] + sums[2] + sums[3]);
        }
    }
    for j in 0..c {
        let scale = 1.0 / norm(query_gram, job.query, j);
        let first = j / head * head;
        for i in first..first + head {
            attention[i * head + j - first] *= scale;
        }
    }
    for row in attention.chunks_exact_mut(head) {
        let largest = row.iter().copied().fold(f64::MIN, f64::max);
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = (*value - largest).exp();
            sum += *value;
        }
        row.iter_mut().for_each(|value| *value /= sum);
    }
    mix.clear();
    mix.resize(c * c, 0.0);
    for (projection, mix) in job.projection.chunks_exact(c).zip(mix.chunks_exact_mut(c)) {
        for (i, (&p, row)) in projection.iter().zip(attention.chunks_exact(head)).enumerate() {
            let first = i / head * head;
            for (m, a) in mix[first..first + head].iter_mut().zip(row) {
                *m += f64::from(p) * a;
            }
        }
    }
}

/// `out = W S`.
#[inline(always)]
fn weigh(weights: &[f32], gram: &[f64], c: usize, out: &mut Vec<f64>) {
    out.clear();
    out.resize(c * c, 0.0);
    for (weights, out) in weights.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        for (&w, gram) in weights.iter().zip(gram.chunks_exact(c)) {
            for (out, s) in out.iter_mut().zip(gram) {
                *out += f64::from(w) * s;
            }
        }
    }
}
