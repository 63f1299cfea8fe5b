//! A transformer that tells the next character.

use burn::module::Module;
use burn::nn::attention::generate_autoregressive_mask;
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, PositionalEncoding, PositionalEncodingConfig,
};
use burn::tensor::{Device, Int, Tensor};

use super::task::CharactersConfig;

/// A decoder: each character sees those before it.
#[derive(Module, Debug)]
pub struct Characters {
    /// `[alphabet, width]`. The only copy: what turns characters into vectors turns vectors back into
    /// characters.
    embedding: Embedding,
    /// Sinusoids, which are not trained.
    positions: PositionalEncoding,
    layers: TransformerEncoder,
}

impl Characters {
    /// Fresh weights on `device`, for so many different characters.
    pub fn new(config: &CharactersConfig, alphabet: usize, device: &Device) -> Self {
        let width = config.width;
        let small = Initializer::Normal {
            mean: 0.0,
            std: 1.0 / (width as f64).sqrt(),
        };
        let layers = TransformerEncoderConfig::new(width, 4 * width, config.heads, config.layers)
            // Burn's draws from the generator of the process: a run would not repeat.
            .with_dropout(0.0);
        Self {
            embedding: EmbeddingConfig::new(alphabet, width)
                .with_initializer(small)
                .init(device),
            positions: PositionalEncodingConfig::new(width)
                .with_max_sequence_size(config.length)
                .init(device),
            layers: layers.init(device),
        }
    }

    /// From characters `[batch, length]` to logits of the next ones `[batch, length, alphabet]`.
    pub fn forward(&self, text: Tensor<2, Int>) -> Tensor<3> {
        let [batch, length] = text.dims();
        let mask = generate_autoregressive_mask(batch, length, &text.device());
        let vectors = self.embedding.forward(text);
        let [_, _, width] = vectors.dims();
        // As long as the sinusoids are.
        let vectors = self.positions.forward(vectors * (width as f64).sqrt());
        let input = TransformerEncoderInput::new(vectors).mask_attn(mask);
        let vectors = self.layers.forward(input);
        vectors.matmul(self.embedding.weight.val().transpose().unsqueeze())
    }
}
