// From the JSON in the page to arrays of numbers. packing.py writes what is read here.

// The block: base64 of zlib of the bytes of doubles, all first bytes, then all second bytes, and so on.
async function decodeBlock(text) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / 8;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < 8; plane++) {
    for (let i = 0; i < count; i++) bytes[8 * i + plane] = planes[plane * count + i];
  }
  return new Float64Array(bytes.buffer); // little-endian, as every machine that runs a browser is
}

// How to take arrays out of the block: numbers as they are, whole numbers as sums of their differences.
function readerOf(block) {
  const numbers = ([first, count]) => block.subarray(first, first + count);
  const whole = (place) => {
    const values = numbers(place).slice();
    for (let i = 1; i < values.length; i++) values[i] += values[i - 1];
    return values;
  };
  return { numbers, whole };
}

async function decodeContent(content) {
  const read = readerOf(await decodeBlock(content.block));
  const runs = content.runs.map((run, index) => ({
    ...run,
    index,
    traces: Object.entries(run.series).map(([name, series]) => decodeTrace(name, series, read)),
    epochs: { x: read.whole(run.epochs[0]), y: read.numbers(run.epochs[1]) },
    layers: mapValues(run.layers, (layer) => ({
      ...layer,
      steps: read.whole(layer.steps),
      values: read.numbers(layer.values),
    })),
    histograms: mapValues(run.histograms, (histogram) => decodeHistogram(histogram, read)),
  }));
  return { ...content, block: null, runs };
}

// A trace is a series to be drawn. Its `centre` is what smoothing averages: where points were left out the means of
// columns, each standing for `n` points, since the extremes alone would say more of the noise than of the trend. Both have
// `ends`: the points after which a line ends, since the next one is too far (scales.py says how far).
function decodeTrace(name, series, read) {
  const x = read.whole(series.x);
  const y = read.numbers(series.y);
  const means = series.means && {
    x: read.whole(series.means[0]),
    y: read.numbers(series.means[1]),
    n: read.whole(series.means[2]),
    ends: new Set(read.whole(series.means[3])),
  };
  const ends = new Set(read.whole(series.ends));
  return {
    name,
    metric: series.metric,
    part: series.part,
    total: series.total,
    gaps: series.gaps,
    x,
    y,
    ends,
    centre: means || { x, y, n: null, ends },
  };
}

function decodeHistogram(histogram, read) {
  const decoded = { ...histogram };
  for (const key of ["steps", "counts", "nonfinite"]) decoded[key] = read.whole(histogram[key]);
  return decoded;
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}
