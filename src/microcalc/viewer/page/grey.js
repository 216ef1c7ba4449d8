// From 16-bit codes to grey levels. A table of 65536 levels is made for each window; a tile is one look-up per pixel.
// The arithmetic is that of microcalc.display.grey: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.

export function presetsOf(meta) {
  const [low, high] = meta.automatic;
  const automatic = { name: "automatic", kind: "range", centre: (low + high) / 2, width: Math.max(high - low, 1e-9) };
  return [...(meta.presets || []), automatic];
}

// Window and level by hand: the preset's kind is kept where it is one of centre and width.
export function adjusted(preset, centre, width) {
  const kind = preset.kind === "table" ? "range" : preset.kind;
  return { name: "by hand", kind, centre, width: Math.max(width, 1e-9) };
}

// Centre and width of any preset; of a table those of its slope.
export function spanOf(preset) {
  if (preset.kind !== "table") return { centre: preset.centre, width: preset.width };
  const { levels, first, step } = preset;
  const [low, high] = [Math.min(...ends(levels)), Math.max(...ends(levels))];
  const at = (share) => first + step * levels.findIndex((level) =>
    step * (levels.at(-1) - levels[0]) >= 0 ? level >= low + share * (high - low) : level <= high - share * (high - low));
  const [a, b] = [at(0.1), at(0.9)];
  return { centre: (a + b) / 2, width: Math.max(Math.abs(b - a) / 0.8, 1) };
}

const ends = (levels) => [levels[0], levels.at(-1)];

export function tableOf(meta, preset, inverted) {
  const table = new Uint32Array(65536);
  const level = levelOf(preset);
  for (let code = 0; code < 65536; code++) {
    let value = meta.scale * code + meta.offset;
    if (meta.curve === "log") value = -Math.log(Math.max(-value, 1));
    let grey = Math.trunc(level(value));
    if (inverted) grey = 255 - grey;
    table[code] = (255 << 24 | grey << 16 | grey << 8 | grey) >>> 0;
  }
  return table;
}

function levelOf(preset) {
  const { centre, width, kind } = preset;
  if (kind === "table") {
    const { first, step, levels } = preset;
    return (value) => levels[Math.min(levels.length - 1, Math.max(0, Math.round((value - first) / step)))];
  }
  if (kind === "sigmoid") {
    return (value) => 255 / (1 + Math.exp(Math.min(50, Math.max(-50, -4 * (value - centre) / width))));
  }
  const [middle, span] = kind === "linear" ? [centre - 0.5, Math.max(width - 1, 1e-3)] : [centre, width];
  const low = middle - span / 2;
  return (value) => Math.min(255, Math.max(0, (value - low) * 255 / span));
}

// Likelihood as colour: clear where there is none, then violet, orange, yellow.
export function likelihoodTable() {
  const table = new Uint32Array(65536);
  const stops = [[0, 90, 20, 140, 0], [0.2, 90, 20, 140, 0], [0.5, 200, 60, 80, 110], [0.8, 255, 170, 30, 190], [1, 255, 250, 170, 230]];
  for (let code = 0; code < 65536; code++) {
    const at = code / 65535;
    const next = stops.findIndex((stop) => stop[0] >= at);
    const [b, a] = [stops[next], stops[Math.max(next - 1, 0)]];
    const share = b[0] > a[0] ? (at - a[0]) / (b[0] - a[0]) : 0;
    const mix = (n) => Math.round(a[n] + share * (b[n] - a[n]));
    table[code] = (mix(4) << 24 | mix(3) << 16 | mix(2) << 8 | mix(1)) >>> 0;
  }
  return table;
}

export function painted(codes, width, height, table) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const picture = context.createImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let n = 0; n < codes.length; n++) pixels[n] = table[codes[n]];
  context.putImageData(picture, 0, 0);
  return context;
}
