/* A residual block of the ResMLP, forward and backward, for training on a CPU with AVX-512.
 *
 * Activations are laid out as [channel][token][image], so that each channel is a row of `columns` = tokens * images
 * floats. A linear map is then a matrix product from the left; a norm or a 1-D function processes one row at a time
 * with its constants in registers; and a function of 64 points is looked up by permutations of two registers instead
 * of loads from memory. Products and functions are computed tile by tile, so that intermediate results between two
 * norms stay in the cache. fused.py has the formulas and the order of the calls.
 *
 * `images`, and therefore `columns`, must be a multiple of 32.
 */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_max_threads(void) { return 1; }
static int omp_get_thread_num(void) { return 0; }
#endif

#define LANES 16           /* floats in a vector */
#define TILE 512           /* columns that are processed together */
#define PITCH (TILE + 16)  /* distance of a tile's rows; a power of two would map all rows to the same cache sets */
#define POINTS 64          /* of a 1-D function */
#define MAX_TAPS 81        /* entries of the largest local kernel, 9 x 9 */

enum { IDENTITY, RELU, GELU, GRID };

typedef float pair __attribute__((vector_size(8)));

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static float *tiles(int64_t rows) { return aligned_alloc(64, (size_t)rows * PITCH * sizeof(float)); }

/* Reduces sixteen vectors at once: lane i of the result is the sum of all lanes of v[i]. */
static inline __m512 sum16(const __m512 *v) {
  __m512 a[8], b[4], c[2];
  for (int i = 0; i < 8; i++) {
    const __m512 p = v[2 * i], q = v[2 * i + 1];
    a[i] = _mm512_add_ps(_mm512_unpacklo_ps(p, q), _mm512_unpackhi_ps(p, q));
  }
  for (int i = 0; i < 4; i++) {
    const __m512d p = _mm512_castps_pd(a[2 * i]), q = _mm512_castps_pd(a[2 * i + 1]);
    b[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(p, q)), _mm512_castpd_ps(_mm512_unpackhi_pd(p, q)));
  }
  for (int i = 0; i < 2; i++)
    c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xdd));
}

/* The matrix product out[r][t] = sum_k w[r * row + k * step] * x[k][t] (+ add[r][t] + bias[r]). It advances by two
 * vectors of t at a time, so that the panel of x that all rows read stays in the first-level cache. */
#define PANEL (2 * LANES)

static inline __attribute__((always_inline)) void product_rows(const int rows, const float *w, int64_t row, int64_t step,
                                                               int64_t terms, const float *x, int64_t x_pitch,
                                                               const float *add, int64_t add_pitch, const float *bias,
                                                               float *out, int64_t out_pitch) {
  __m512 sum[8][2];
  for (int r = 0; r < rows; r++) {
    const __m512 start = _mm512_set1_ps(bias ? bias[r] : 0.0f);
    for (int v = 0; v < 2; v++)
      sum[r][v] = add ? _mm512_add_ps(start, _mm512_loadu_ps(add + r * add_pitch + v * LANES)) : start;
  }
  for (int64_t k = 0; k < terms; k++) {
    const __m512 x0 = _mm512_loadu_ps(x + k * x_pitch), x1 = _mm512_loadu_ps(x + k * x_pitch + LANES);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      const __m512 weight = _mm512_set1_ps(w[r * row + k * step]);
      sum[r][0] = _mm512_fmadd_ps(weight, x0, sum[r][0]);
      sum[r][1] = _mm512_fmadd_ps(weight, x1, sum[r][1]);
    }
  }
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < 2; v++) _mm512_storeu_ps(out + r * out_pitch + v * LANES, sum[r][v]);
}

static void product(int64_t rows, const float *w, int64_t row, int64_t step, int64_t terms, const float *x,
                    int64_t x_pitch, const float *add, int64_t add_pitch, const float *bias, float *out,
                    int64_t out_pitch, int64_t columns) {
  for (int64_t t = 0; t < columns; t += PANEL) {
    int64_t r = 0;
#define ROWS(n)                                                                                               \
  for (; r + n <= rows; r += n)                                                                               \
    product_rows(n, w + r * row, row, step, terms, x + t, x_pitch, add ? add + r * add_pitch + t : NULL,       \
                 add_pitch, bias ? bias + r : NULL, out + r * out_pitch + t, out_pitch);
    ROWS(8) ROWS(4) ROWS(2) ROWS(1)
#undef ROWS
  }
}

/* The matrix product out[r][k] += sum_t d[r][t] * x[k][t], in blocks of OUTER_ROWS x 4. */
#define OUTER_ROWS 6

static void outer(int64_t rows, int64_t terms, const float *d, int64_t d_pitch, const float *x, int64_t x_pitch,
                  int64_t columns, float *out) {
  for (int64_t r = 0; r < rows; r += OUTER_ROWS) {
    for (int64_t k = 0; k < terms; k += 4) {
      const float *dr[OUTER_ROWS], *xk[4]; /* beyond the edge, the last row is read again and its result dropped */
      for (int i = 0; i < OUTER_ROWS; i++) dr[i] = d + smaller(r + i, rows - 1) * d_pitch;
      for (int i = 0; i < 4; i++) xk[i] = x + smaller(k + i, terms - 1) * x_pitch;
      __m512 sum[32];
      for (int i = 0; i < 32; i++) sum[i] = _mm512_setzero_ps();
      for (int64_t t = 0; t < columns; t += LANES) {
        __m512 xv[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) xv[j] = _mm512_loadu_ps(xk[j] + t);
#pragma GCC unroll 6
        for (int i = 0; i < OUTER_ROWS; i++) {
          const __m512 dv = _mm512_loadu_ps(dr[i] + t);
#pragma GCC unroll 4
          for (int j = 0; j < 4; j++) sum[4 * i + j] = _mm512_fmadd_ps(dv, xv[j], sum[4 * i + j]);
        }
      }
      float total[32];
      _mm512_storeu_ps(total, sum16(sum));
      _mm512_storeu_ps(total + LANES, sum16(sum + LANES));
      for (int i = 0; i < OUTER_ROWS && r + i < rows; i++)
        for (int j = 0; j < 4 && k + j < terms; j++) out[(r + i) * terms + k + j] += total[4 * i + j];
    }
  }
}

/* A piecewise linear function in registers. */
typedef struct {
  __m512 value[4], rise[4];
} knots;

/* Loads table [2][POINTS]: each knot's value, then each knot's rise to the next one. */
static inline knots load_knots(const float *table) {
  knots k;
  for (int i = 0; i < 4; i++) {
    k.value[i] = _mm512_loadu_ps(table + i * LANES);
    k.rise[i] = _mm512_loadu_ps(table + POINTS + i * LANES);
  }
  return k;
}

/* Looks up sixteen indices in a table of POINTS floats. */
static inline __m512 pick(const __m512 *table, __m512i index) {
  const __m512 low = _mm512_permutex2var_ps(table[0], index, table[1]);
  const __m512 high = _mm512_permutex2var_ps(table[2], index, table[3]);
  return _mm512_mask_blend_ps(_mm512_test_epi32_mask(index, _mm512_set1_epi32(32)), low, high);
}

/* Returns the segments of sixteen arguments, given in steps from the first knot, and the fractions within them. The
 * outermost segments continue beyond the knots. */
static inline __m512i locate(__m512 t, __m512 *fraction) {
  const __m512 clipped =
      _mm512_min_ps(_mm512_max_ps(t, _mm512_setzero_ps()), _mm512_set1_ps((float)(POINTS - 2)));
  const __m512i index = _mm512_cvttps_epi32(clipped);
  *fraction = _mm512_sub_ps(t, _mm512_cvtepi32_ps(index));
  return index;
}

/* Returns exp(x) for x <= 0, with a relative error of about 1e-7: exp(x) = 2^n * exp(x - n * ln 2), the second factor
 * by its Taylor series up to degree 6. ln 2 is split into two constants, so that x - n * ln 2 stays accurate. */
static inline __m512 exponential(__m512 x) {
  x = _mm512_max_ps(x, _mm512_set1_ps(-87.0f));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.0f / 720);
  const float coefficients[] = {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  for (int i = 0; i < 6; i++) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(coefficients[i]));
  return _mm512_scalef_ps(p, n);
}

/* Returns the normal distribution's Phi(x), and its density phi(x) in `density`, by formula 7.1.26 of M. Abramowitz
 * and I. Stegun, "Handbook of Mathematical Functions". */
static inline __m512 normal(__m512 x, __m512 *density) {
  const __m512 a = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678f));
  const __m512 e = exponential(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.5f)));
  const __m512 t = _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_fmadd_ps(a, _mm512_set1_ps(0.3275911f), _mm512_set1_ps(1.0f)));
  const float coefficients[] = {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f};
  __m512 p = _mm512_set1_ps(1.061405429f);
  for (int i = 0; i < 4; i++) p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(coefficients[i]));
  const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(p, t), e), _mm512_set1_ps(0.5f)); /* 1 - Phi(|x|) */
  *density = _mm512_mul_ps(e, _mm512_set1_ps(0.39894228f));
  const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
  return _mm512_mask_mov_ps(_mm512_sub_ps(_mm512_set1_ps(1.0f), tail), negative, tail);
}

/* The functions f(scale * x + offset) of all rows. */
typedef struct {
  int64_t kind;
  const float *table;          /* for GRID: [rows][2][POINTS], see load_knots */
  float lo, inverse_step;      /* for GRID: argument at the first knot, and knots per unit */
  const float *scale, *offset; /* [rows]: the norm before the function */
} function;

/* Computes y = f(scale * x + offset) of one row and, unless it is NULL, slope = f'(scale * x + offset). */
static void apply(const function *f, int64_t row, const float *x, float *y, float *slope, int64_t columns) {
  const __m512 scale = _mm512_set1_ps(f->scale[row]), offset = _mm512_set1_ps(f->offset[row]);
  if (f->kind == GRID) {
    const knots k = load_knots(f->table + row * 2 * POINTS);
    const __m512 step = _mm512_set1_ps(f->inverse_step);
    const __m512 to_knots = _mm512_mul_ps(scale, step);
    const __m512 from = _mm512_mul_ps(_mm512_sub_ps(offset, _mm512_set1_ps(f->lo)), step);
#pragma GCC unroll 2
    for (int64_t t = 0; t < columns; t += LANES) {
      __m512 fraction;
      const __m512i index = locate(_mm512_fmadd_ps(_mm512_loadu_ps(x + t), to_knots, from), &fraction);
      const __m512 rise = pick(k.rise, index);
      _mm512_storeu_ps(y + t, _mm512_fmadd_ps(fraction, rise, pick(k.value, index)));
      if (slope) _mm512_storeu_ps(slope + t, _mm512_mul_ps(rise, step));
    }
    return;
  }
  const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1.0f);
  for (int64_t t = 0; t < columns; t += LANES) {
    const __m512 v = _mm512_fmadd_ps(_mm512_loadu_ps(x + t), scale, offset);
    __m512 value = v, derivative = one;
    if (f->kind == RELU) {
      value = _mm512_max_ps(zero, v); /* if v is NaN the result is the second operand, v */
      derivative = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, zero, _CMP_GT_OQ), one);
    } else if (f->kind == GELU) {
      __m512 density;
      const __m512 probability = normal(v, &density);
      value = _mm512_mul_ps(v, probability);
      derivative = _mm512_fmadd_ps(v, density, probability);
    }
    _mm512_storeu_ps(y + t, value);
    if (slope) _mm512_storeu_ps(slope + t, derivative);
  }
}

/* Adds one in `every` vectors of gradients d, times `every`, to the segment in which its x lies:
 * sums[k] += (d, d * fraction). `phase` selects the vectors; the caller varies it, so that all images contribute. */
static void collect(const function *f, int64_t row, const float *x, const float *d, pair *sums, int64_t every,
                    int64_t phase, int64_t columns) {
  const __m512 step = _mm512_set1_ps(f->inverse_step), weight = _mm512_set1_ps((float)every);
  const __m512 to_knots = _mm512_mul_ps(_mm512_set1_ps(f->scale[row]), step);
  const __m512 from = _mm512_mul_ps(_mm512_set1_ps(f->offset[row] - f->lo), step);
  for (int64_t t = (phase % every) * LANES; t < columns; t += every * LANES) {
    __m512 fraction;
    int32_t index[LANES];
    float whole[LANES], part[LANES];
    const __m512i at = locate(_mm512_fmadd_ps(_mm512_loadu_ps(x + t), to_knots, from), &fraction);
    const __m512 gradient = _mm512_mul_ps(_mm512_loadu_ps(d + t), weight);
    _mm512_storeu_si512(index, at);
    _mm512_storeu_ps(whole, gradient);
    _mm512_storeu_ps(part, _mm512_mul_ps(gradient, fraction));
    for (int i = 0; i < LANES; i++) sums[index[i]] += (pair){whole[i], part[i]};
  }
}

/* Adds the sum of a row, and of its product with another, to sums[0] and sums[1]. There are four chains of additions,
 * because an addition has a latency of four clock cycles. */
static inline void add_sums(const float *a, const float *b, int64_t columns, double *sums) {
  __m512 sum[4], with[4];
  for (int i = 0; i < 4; i++) sum[i] = with[i] = _mm512_setzero_ps();
  int64_t t = 0;
  for (; t + 4 * LANES <= columns; t += 4 * LANES)
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const __m512 v = _mm512_loadu_ps(a + t + i * LANES);
      sum[i] = _mm512_add_ps(sum[i], v);
      with[i] = _mm512_fmadd_ps(v, _mm512_loadu_ps(b + t + i * LANES), with[i]);
    }
  for (; t < columns; t += LANES) {
    const __m512 v = _mm512_loadu_ps(a + t);
    sum[0] = _mm512_add_ps(sum[0], v);
    with[0] = _mm512_fmadd_ps(v, _mm512_loadu_ps(b + t), with[0]);
  }
  sums[0] += _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
  sums[1] += _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(with[0], with[1]), _mm512_add_ps(with[2], with[3])));
}

/* Each thread sums into a part of its own, and the parts are added in order. So the result is the same in every run
 * with the same number of threads. */
static void *parts(int64_t size) { return calloc(omp_get_max_threads(), size); }

static void add_parts(float *to, const float *from, int64_t count) {
  for (int i = 0; i < omp_get_max_threads(); i++)
    for (int64_t j = 0; j < count; j++) to[j] += from[i * count + j];
}

static void add_double_parts(double *to, const double *from, int64_t count) {
  for (int i = 0; i < omp_get_max_threads(); i++)
    for (int64_t j = 0; j < count; j++) to[j] += from[i * count + j];
}

/* Computes out = w·f(x) (+ add + bias), and adds the sums of out[r] and of its squares to sums[r]. Shapes: x
 * [terms][columns], w [rows][terms], out and add [rows][columns], bias [rows], sums [rows][2]. */
void linear_forward(const float *x, const function *f, const float *w, const float *add, const float *bias, float *out,
                    double *sums, int64_t rows, int64_t terms, int64_t columns) {
  double *all = parts(rows * 2 * sizeof(double));
#pragma omp parallel
  {
    float *z = tiles(terms);
    double *mine = all + omp_get_thread_num() * rows * 2;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < columns; t += TILE) {
      const int64_t n = smaller(TILE, columns - t);
      for (int64_t c = 0; c < terms; c++) apply(f, c, x + c * columns + t, z + c * PITCH, NULL, n);
      product(rows, w, terms, 1, terms, z, PITCH, add ? add + t : NULL, columns, bias, out + t, columns, n);
      for (int64_t r = 0; r < rows; r++) {
        const float *o = out + r * columns + t;
        add_sums(o, o, n, mine + 2 * r);
      }
    }
    free(z);
  }
  add_double_parts(sums, all, rows * 2);
  free(all);
}

/* The adjoint of linear_forward. The gradient of `out` is d or, if a norm follows, k0 * d + k1 * after + k2, where
 * `after` is `out` and the coefficients [3][rows] are those of the norm. Computes dv [terms][columns], the gradient of
 * the function's argument scale * x + offset. Adds the sums of dv[c] and of dv[c] * x[c] to sums[c], and the gradients
 * of w, of the bias unless dbias is NULL, and for GRID of the knots: dknots [terms][POINTS][2], see collect. */
void linear_backward(const float *d, const float *after, const float *coefficients, const float *x, const function *f,
                     const float *w, float *dv, double *sums, float *dw, float *dbias, float *dknots, int64_t every,
                     int64_t phase, int64_t rows, int64_t terms, int64_t columns) {
  double *all_sums = parts(terms * 2 * sizeof(double));
  float *all_dw = parts(rows * terms * sizeof(float)), *all_dbias = parts(rows * sizeof(float));
  float *all_dknots = parts(terms * POINTS * sizeof(pair));
#pragma omp parallel
  {
    const int thread = omp_get_thread_num();
    float *dt = tiles(rows), *z = tiles(terms), *slope = tiles(terms), *dz = tiles(terms);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < columns; t += TILE) {
      const int64_t n = smaller(TILE, columns - t);
      for (int64_t r = 0; r < rows; r++) {
        const float *from = d + r * columns + t, *rest = after ? after + r * columns + t : from;
        const __m512 k0 = _mm512_set1_ps(after ? coefficients[r] : 1.0f);
        const __m512 k1 = _mm512_set1_ps(after ? coefficients[rows + r] : 0.0f);
        const __m512 k2 = _mm512_set1_ps(after ? coefficients[2 * rows + r] : 0.0f);
        __m512 sum = _mm512_setzero_ps();
        for (int64_t i = 0; i < n; i += LANES) {
          const __m512 v = _mm512_fmadd_ps(k0, _mm512_loadu_ps(from + i), _mm512_fmadd_ps(k1, _mm512_loadu_ps(rest + i), k2));
          _mm512_storeu_ps(dt + r * PITCH + i, v);
          sum = _mm512_add_ps(sum, v);
        }
        all_dbias[thread * rows + r] += _mm512_reduce_add_ps(sum);
      }
      for (int64_t c = 0; c < terms; c++) apply(f, c, x + c * columns + t, z + c * PITCH, slope + c * PITCH, n);
      outer(rows, terms, dt, PITCH, z, PITCH, n, all_dw + thread * rows * terms);
      product(terms, w, 1, terms, rows, dt, PITCH, NULL, 0, NULL, dz, PITCH, n);
      for (int64_t c = 0; c < terms; c++) {
        const float *xc = x + c * columns + t;
        float *dzc = dz + c * PITCH, *dvc = dv + c * columns + t;
        if (f->kind == GRID)
          collect(f, c, xc, dzc, (pair *)all_dknots + (thread * terms + c) * POINTS, every, phase + t / TILE, n);
        for (int64_t i = 0; i < n; i += LANES)
          _mm512_storeu_ps(dvc + i,
                           _mm512_mul_ps(_mm512_loadu_ps(dzc + i), _mm512_loadu_ps(slope + c * PITCH + i)));
        add_sums(dvc, xc, n, all_sums + (thread * terms + c) * 2);
      }
    }
    free(dt), free(z), free(slope), free(dz);
  }
  add_double_parts(sums, all_sums, terms * 2);
  add_parts(dw, all_dw, rows * terms);
  if (dbias) add_parts(dbias, all_dbias, rows);
  if (f->kind == GRID) add_parts(dknots, all_dknots, terms * POINTS * 2);
  free(all_sums), free(all_dw), free(all_dbias), free(all_dknots);
}

/* The token mixing out = x + A·(scale * x + offset) + bias, with a matrix A per group of channels. */
typedef struct {
  int64_t height, width, kernel; /* of the grid, and of a local kernel; kernel 0: A is dense */
  int64_t groups, shared;        /* shared: one local kernel for all positions */
  const float *weight, *bias;    /* [groups][tokens or 1][taps or tokens]; [groups][tokens or 1] */
} mixing;

/* Returns the token that token n reads at tap i of a local kernel, or -1 if it lies outside the grid. */
static inline int64_t neighbour(const mixing *m, int64_t n, int64_t i) {
  const int64_t half = m->kernel / 2;
  const int64_t row = n / m->width + i / m->kernel - half, column = n % m->width + i % m->kernel - half;
  return row < 0 || row >= m->height || column < 0 || column >= m->width ? -1 : row * m->width + column;
}

static void mean_and_variance(const float *x, int64_t columns, float *mean, float *variance) {
  double sums[2] = {0, 0};
  for (int64_t t = 0; t < columns; t += 4096) add_sums(x + t, x + t, smaller(4096, columns - t), sums);
  *mean = (float)(sums[0] / columns);
  const double v = sums[1] / columns - (sums[0] / columns) * (sums[0] / columns);
  *variance = v > 0 ? (float)v : 0.0f;
}

static void local_forward(const mixing *m, const float *weight, const float *bias, float scale, float offset,
                          const float *x, float *y, int64_t images) {
  const int64_t tokens = m->height * m->width, taps = m->kernel * m->kernel;
  for (int64_t n = 0; n < tokens; n++) {
    const float *w = weight + (m->shared ? 0 : n * taps);
    const float *inputs[MAX_TAPS];
    float factors[MAX_TAPS], constant = bias[m->shared ? 0 : n];
    int used = 0;
    for (int64_t i = 0; i < taps; i++) {
      const int64_t from = neighbour(m, n, i);
      if (from < 0) continue;
      inputs[used] = x + from * images;
      factors[used++] = scale * w[i];
      constant += offset * w[i];
    }
    for (int64_t t = 0; t < images; t += LANES) {
      __m512 sum = _mm512_add_ps(_mm512_loadu_ps(x + n * images + t), _mm512_set1_ps(constant));
      for (int i = 0; i < used; i++)
        sum = _mm512_fmadd_ps(_mm512_set1_ps(factors[i]), _mm512_loadu_ps(inputs[i] + t), sum);
      _mm512_storeu_ps(y + n * images + t, sum);
    }
  }
}

/* Computes dz = A^T·dy for one channel, and adds to dweight and dbias; token_sums[n] is the sum of dy over the
 * images. */
static void local_backward(const mixing *m, const float *weight, float scale, float offset, const float *x,
                           const float *dy, const double *token_sums, float *dz, double *dweight, double *dbias,
                           int64_t images) {
  const int64_t tokens = m->height * m->width, taps = m->kernel * m->kernel;
  for (int64_t n = 0; n < tokens; n++) {
    const float *inputs[MAX_TAPS];
    float factors[MAX_TAPS];
    int used = 0;
    for (int64_t i = 0; i < taps; i++) { /* `from` reads n at tap taps - 1 - i */
      const int64_t from = neighbour(m, n, i);
      if (from < 0) continue;
      inputs[used] = dy + from * images;
      factors[used++] = weight[(m->shared ? 0 : from * taps) + taps - 1 - i];
    }
    for (int64_t t = 0; t < images; t += LANES) {
      __m512 sum = _mm512_setzero_ps();
      for (int i = 0; i < used; i++)
        sum = _mm512_fmadd_ps(_mm512_set1_ps(factors[i]), _mm512_loadu_ps(inputs[i] + t), sum);
      _mm512_storeu_ps(dz + n * images + t, sum);
    }
    dbias[m->shared ? 0 : n] += token_sums[n];
    double *dw = dweight + (m->shared ? 0 : n * taps);
    for (int64_t i = 0; i < taps; i++) {
      const int64_t from = neighbour(m, n, i);
      if (from < 0) continue;
      __m512 sum = _mm512_setzero_ps();
      for (int64_t t = 0; t < images; t += LANES)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(dy + n * images + t), _mm512_loadu_ps(x + from * images + t), sum);
      dw[i] += scale * _mm512_reduce_add_ps(sum) + offset * token_sums[n];
    }
  }
}

/* Computes the token mixing of x [channels][tokens][images] after the norm of its batch, and the mean and variance of
 * x and of out, [channels][2]. */
void mixing_forward(const float *x, const mixing *m, const float *gamma, const float *beta, float eps, float *out,
                    float *x_norm, float *out_norm, int64_t channels, int64_t images) {
  const int64_t tokens = m->height * m->width, columns = tokens * images, size = channels / m->groups;
  const int64_t positions = m->shared ? 1 : tokens, taps = m->kernel ? m->kernel * m->kernel : tokens;
#pragma omp parallel
  {
    float *z = m->kernel ? NULL : aligned_alloc(64, tokens * (images + LANES) * sizeof(float));
#pragma omp for schedule(static)
    for (int64_t c = 0; c < channels; c++) {
      const float *xc = x + c * columns, *weight = m->weight + c / size * positions * taps;
      const float *bias = m->bias + c / size * positions;
      float *yc = out + c * columns;
      mean_and_variance(xc, columns, x_norm + 2 * c, x_norm + 2 * c + 1);
      const float scale = gamma[c] / sqrtf(x_norm[2 * c + 1] + eps), offset = beta[c] - x_norm[2 * c] * scale;
      if (m->kernel) {
        local_forward(m, weight, bias, scale, offset, xc, yc, images);
      } else {
        const __m512 s = _mm512_set1_ps(scale), o = _mm512_set1_ps(offset);
        for (int64_t n = 0; n < tokens; n++)
          for (int64_t t = 0; t < images; t += LANES)
            _mm512_storeu_ps(z + n * (images + LANES) + t, _mm512_fmadd_ps(_mm512_loadu_ps(xc + n * images + t), s, o));
        product(tokens, weight, tokens, 1, tokens, z, images + LANES, xc, images, bias, yc, images, images);
      }
      mean_and_variance(yc, columns, out_norm + 2 * c, out_norm + 2 * c + 1);
    }
    free(z);
  }
}

/* The adjoint of mixing_forward. The gradient of `out` is d + k0 * dv + k1 * out + k2: d comes along the bypass of the
 * channel mixing, and the rest through its norm, whose coefficients are [3][channels]. Computes dx, and adds to dweight
 * and dbias, in the shapes of `mixing`, and to dgamma and dbeta. */
void mixing_backward(const float *d, const float *dv, const float *coefficients, const float *x, const float *out,
                     const mixing *m, const float *gamma, const float *beta, const float *x_norm, float eps, float *dx,
                     float *dweight, float *dbias, float *dgamma, float *dbeta, int64_t channels, int64_t images) {
  const int64_t tokens = m->height * m->width, columns = tokens * images, size = channels / m->groups;
  const int64_t positions = m->shared ? 1 : tokens, taps = m->kernel ? m->kernel * m->kernel : tokens;
  const int64_t weights = positions * taps;
#pragma omp parallel
  {
    const int64_t pitch = m->kernel ? images : images + LANES;
    float *dy = aligned_alloc(64, tokens * pitch * sizeof(float)), *dz = aligned_alloc(64, columns * sizeof(float));
    float *z = m->kernel ? NULL : aligned_alloc(64, tokens * pitch * sizeof(float));
    float *dense = m->kernel ? NULL : calloc(weights, sizeof(float));
    double *token_sums = malloc(tokens * sizeof(double));
    double *dw = malloc(weights * sizeof(double)), *db = malloc(positions * sizeof(double));
#pragma omp for schedule(static) /* over groups, because the channels of a group share their gradients */
    for (int64_t g = 0; g < m->groups; g++) {
      const float *weight = m->weight + g * weights;
      memset(dw, 0, weights * sizeof(double)), memset(db, 0, positions * sizeof(double));
      if (dense) memset(dense, 0, weights * sizeof(float));
      for (int64_t c = g * size; c < (g + 1) * size; c++) {
        const float *xc = x + c * columns;
        const float scale = gamma[c] / sqrtf(x_norm[2 * c + 1] + eps), offset = beta[c] - x_norm[2 * c] * scale;
        const __m512 k0 = _mm512_set1_ps(coefficients[c]), k1 = _mm512_set1_ps(coefficients[channels + c]);
        const __m512 k2 = _mm512_set1_ps(coefficients[2 * channels + c]);
        for (int64_t n = 0; n < tokens; n++) {
          __m512 sum = _mm512_setzero_ps();
          for (int64_t t = 0; t < images; t += LANES) {
            const int64_t at = c * columns + n * images + t;
            __m512 v = _mm512_fmadd_ps(k1, _mm512_loadu_ps(out + at), k2);
            v = _mm512_add_ps(_mm512_fmadd_ps(k0, _mm512_loadu_ps(dv + at), v), _mm512_loadu_ps(d + at));
            _mm512_storeu_ps(dy + n * pitch + t, v);
            sum = _mm512_add_ps(sum, v);
          }
          token_sums[n] = _mm512_reduce_add_ps(sum);
        }
        if (m->kernel) {
          local_backward(m, weight, scale, offset, xc, dy, token_sums, dz, dw, db, images);
        } else {
          const __m512 s = _mm512_set1_ps(scale), o = _mm512_set1_ps(offset);
          for (int64_t n = 0; n < tokens; n++) {
            db[n] += token_sums[n];
            for (int64_t t = 0; t < images; t += LANES)
              _mm512_storeu_ps(z + n * pitch + t, _mm512_fmadd_ps(_mm512_loadu_ps(xc + n * images + t), s, o));
          }
          outer(tokens, tokens, dy, pitch, z, pitch, images, dense);
          product(tokens, weight, 1, tokens, tokens, dy, pitch, NULL, 0, NULL, dz, images, images);
        }
        double sums[2] = {0, 0};
        for (int64_t n = 0; n < tokens; n++) add_sums(dz + n * images, xc + n * images, images, sums);
        const double deviation = sqrt(x_norm[2 * c + 1] + eps), mean = x_norm[2 * c];
        const double along = (sums[1] - mean * sums[0]) / deviation; /* the sum of dz times the normalised x */
        dgamma[c] += (float)along;
        dbeta[c] += (float)sums[0];
        const double with_x = -scale * along / (deviation * columns);
        const __m512 q0 = _mm512_set1_ps(scale), q1 = _mm512_set1_ps((float)with_x);
        const __m512 q2 = _mm512_set1_ps((float)(-scale * sums[0] / columns - with_x * mean));
        for (int64_t n = 0; n < tokens; n++)
          for (int64_t t = 0; t < images; t += LANES) {
            const int64_t at = n * images + t;
            __m512 v = _mm512_fmadd_ps(q1, _mm512_loadu_ps(xc + at), q2);
            v = _mm512_fmadd_ps(q0, _mm512_loadu_ps(dz + at), v);
            _mm512_storeu_ps(dx + c * columns + at, _mm512_add_ps(v, _mm512_loadu_ps(dy + n * pitch + t)));
          }
      }
      for (int64_t i = 0; i < weights; i++) dweight[g * weights + i] += (float)dw[i] + (dense ? dense[i] : 0.0f);
      for (int64_t i = 0; i < positions; i++) dbias[g * positions + i] += (float)db[i];
    }
    free(dy), free(dz), free(z), free(dense), free(token_sums), free(dw), free(db);
  }
}
