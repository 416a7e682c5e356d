/* Two operations that torch.compile cannot vectorise well on a CPU: the interpolated 1-D function (per element a table
 * lookup, and in the backward pass an accumulation) and the local token mixing (a depthwise stencil with weights that
 * differ by position).
 *
 * The file includes itself once per element type, with ELEMENT, LOAD, STORE and NAME defined for that type; sums are
 * always in float. Callers must pass contiguous arrays of the right size, which kernels.py checks.
 */
#ifndef ELEMENT

#include <stdint.h>
#include <string.h>

/* Channels that are processed together: 32 of bf16 fill a cache line, and their tables of 64 points take 16 KB. */
#define CHANNEL_BLOCK 32

static inline float load_bf16(uint16_t v) {
  uint32_t bits = (uint32_t)v << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static inline uint16_t store_bf16(float f) { /* rounds half to even, as torch does */
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

typedef float pair __attribute__((vector_size(8)));

/* Computes at[], the index of the segment in the block's table, and fraction[], the position within the segment, for
 * one row of a block. Each use is followed by a scalar loop that reads the table: a vector gather in its place was
 * four times slower on the processors that were tried. */
#define LOCATE(xr)                                                                     \
  _Pragma("omp simd") for (int c = 0; c < block; c++) {                                \
    const float t = (LOAD((xr)[c]) - lo) * inverse_step;                               \
    float clipped = t > 0.0f ? t : 0.0f; /* NaN becomes 0, which is a valid index */   \
    clipped = clipped < last ? clipped : last;                                         \
    const int32_t i = (int32_t)clipped;                                                \
    fraction[c] = t - (float)i;                                                        \
    at[c] = i * (int32_t)channels + c;                                                 \
  }

#define ELEMENT float
#define LOAD(v) (v)
#define STORE(v) (v)
#define NAME(f) f##_f32
#include "kernels.c"
#undef ELEMENT
#undef LOAD
#undef STORE
#undef NAME

#define ELEMENT uint16_t
#define LOAD(v) load_bf16(v)
#define STORE(v) store_bf16(v)
#define NAME(f) f##_bf16
#include "kernels.c"

#else

/* Computes y[r, c], the function of channel c at x[r, c]. segments[k, c] holds the function's value at knot k and its
 * rise to the next knot. Knot k lies at lo + k / inverse_step, and the outermost segments continue beyond the knots. */
void NAME(interpolate)(const ELEMENT *restrict x, const pair *restrict segments, ELEMENT *restrict y, int64_t rows,
                       int64_t channels, int64_t points, float lo, float inverse_step) {
  const float last = (float)(points - 2);
#pragma omp parallel for
  for (int64_t c0 = 0; c0 < channels; c0 += CHANNEL_BLOCK) {
    const int block = c0 + CHANNEL_BLOCK < channels ? CHANNEL_BLOCK : (int)(channels - c0);
    const pair *table = segments + c0;
    for (int64_t r = 0; r < rows; r++) {
      const ELEMENT *xr = x + r * channels + c0;
      ELEMENT *yr = y + r * channels + c0;
      int32_t at[CHANNEL_BLOCK];
      float fraction[CHANNEL_BLOCK];
      pair segment[CHANNEL_BLOCK];
      LOCATE(xr)
      for (int c = 0; c < block; c++) segment[c] = table[at[c]];
#pragma omp simd
      for (int c = 0; c < block; c++) yr[c] = STORE(segment[c][0] + fraction[c] * segment[c][1]);
    }
  }
}

/* The adjoint of interpolate: computes dx[r, c], and adds (dy, dy * fraction) of all rows to dsegments[k, c]. */
void NAME(interpolate_backward)(const ELEMENT *restrict x, const pair *restrict segments, const ELEMENT *restrict dy,
                                ELEMENT *restrict dx, pair *restrict dsegments, int64_t rows, int64_t channels,
                                int64_t points, float lo, float inverse_step) {
  const float last = (float)(points - 2);
#pragma omp parallel for
  for (int64_t c0 = 0; c0 < channels; c0 += CHANNEL_BLOCK) {
    const int block = c0 + CHANNEL_BLOCK < channels ? CHANNEL_BLOCK : (int)(channels - c0);
    const pair *table = segments + c0;
    pair *dtable = dsegments + c0;
    for (int64_t r = 0; r < rows; r++) {
      const ELEMENT *xr = x + r * channels + c0, *dyr = dy + r * channels + c0;
      ELEMENT *dxr = dx + r * channels + c0;
      int32_t at[CHANNEL_BLOCK];
      float fraction[CHANNEL_BLOCK], rise[CHANNEL_BLOCK], d[CHANNEL_BLOCK];
      LOCATE(xr)
#pragma omp simd
      for (int c = 0; c < block; c++) d[c] = LOAD(dyr[c]);
      for (int c = 0; c < block; c++) {
        rise[c] = table[at[c]][1];
        dtable[at[c]] += (pair){d[c], d[c] * fraction[c]};
      }
#pragma omp simd
      for (int c = 0; c < block; c++) dxr[c] = STORE(d[c] * rise[c] * inverse_step);
    }
  }
}

/* Computes y[n, b, c], the sum of weight[n, i, c] * x[n + offset(i), b, c] over the entries i of a k x k neighbourhood
 * on a grid of height x width tokens. With `transposed` it is the adjoint: token n sums weight[m, i, c] * x[m, b, c]
 * over the tokens m whose entry i is n. */
void NAME(mix_local)(const ELEMENT *restrict x, const float *restrict weight, ELEMENT *restrict y, int64_t height,
                     int64_t width, int64_t kernel, int64_t batch, int64_t channels, int64_t transposed) {
  const int64_t taps = kernel * kernel, half = kernel / 2, plane = batch * channels;
#pragma omp parallel for
  for (int64_t n = 0; n < height * width; n++) {
    const ELEMENT *inputs[81];
    const float *weights[81];
    int64_t used = 0;
    for (int64_t i = 0; i < taps; i++) {
      const int64_t dy = i / kernel - half, dx = i % kernel - half;
      const int64_t row = n / width + (transposed ? -dy : dy), column = n % width + (transposed ? -dx : dx);
      if (row < 0 || row >= height || column < 0 || column >= width) continue;
      const int64_t m = row * width + column;
      inputs[used] = x + m * plane;
      weights[used++] = weight + ((transposed ? m : n) * taps + i) * channels;
    }
    for (int64_t b = 0; b < batch; b++) {
      for (int64_t c0 = 0; c0 < channels; c0 += CHANNEL_BLOCK) {
        const int64_t c1 = c0 + CHANNEL_BLOCK < channels ? c0 + CHANNEL_BLOCK : channels;
        float sum[CHANNEL_BLOCK] = {0};
        for (int64_t i = 0; i < used; i++) {
          const ELEMENT *xi = inputs[i] + b * channels + c0;
          const float *wi = weights[i] + c0;
          if (c1 - c0 == CHANNEL_BLOCK) {
#pragma omp simd
            for (int64_t c = 0; c < CHANNEL_BLOCK; c++) sum[c] += wi[c] * LOAD(xi[c]);
          } else {
            for (int64_t c = 0; c < c1 - c0; c++) sum[c] += wi[c] * LOAD(xi[c]);
          }
        }
        ELEMENT *out = y + n * plane + b * channels + c0;
#pragma omp simd
        for (int64_t c = 0; c < c1 - c0; c++) out[c] = STORE(sum[c]);
      }
    }
  }
}

/* Computes dweight[n, i, c], the sum of dy[n, b, c] * x[n + offset(i), b, c] over the batch, or 0 outside the grid. */
void NAME(mix_local_weight)(const ELEMENT *restrict x, const ELEMENT *restrict dy, float *restrict dweight,
                            int64_t height, int64_t width, int64_t kernel, int64_t batch, int64_t channels) {
  const int64_t taps = kernel * kernel, half = kernel / 2, plane = batch * channels;
#pragma omp parallel for
  for (int64_t n = 0; n < height * width; n++) {
    for (int64_t i = 0; i < taps; i++) {
      const int64_t row = n / width + i / kernel - half, column = n % width + i % kernel - half;
      float *sum = dweight + (n * taps + i) * channels;
      memset(sum, 0, channels * sizeof(float));
      if (row < 0 || row >= height || column < 0 || column >= width) continue;
      const ELEMENT *xi = x + (row * width + column) * plane, *d = dy + n * plane;
      for (int64_t c0 = 0; c0 < channels; c0 += CHANNEL_BLOCK) {
        const int64_t block = c0 + CHANNEL_BLOCK < channels ? CHANNEL_BLOCK : channels - c0;
        float partial[CHANNEL_BLOCK] = {0};
        if (block == CHANNEL_BLOCK) {
          for (int64_t b = 0; b < batch; b++) {
#pragma omp simd
            for (int64_t c = 0; c < CHANNEL_BLOCK; c++)
              partial[c] += LOAD(d[b * channels + c0 + c]) * LOAD(xi[b * channels + c0 + c]);
          }
        } else {
          for (int64_t b = 0; b < batch; b++)
            for (int64_t c = 0; c < block; c++)
              partial[c] += LOAD(d[b * channels + c0 + c]) * LOAD(xi[b * channels + c0 + c]);
        }
        memcpy(sum + c0, partial, block * sizeof(float));
      }
    }
  }
}

#endif
