// One image on the screen: OpenSeadragon shows the tiles, a canvas above it the marks.

import { ask } from "./api.js";
import { drawScale } from "./draw.js";
import { adjusted, likelihoodTable, painted, presetsOf, spanOf, tableOf } from "./grey.js";
import { tileSource } from "./tiles.js";

const OSD = window.OpenSeadragon;
const LIKELIHOOD = likelihoodTable();
const LOUPE_PX = 260;
const LAYER_RANGES = { normalised: "from -5 (black) to 10 (white) standard deviations of noise", likelihood: "violet from 0.2, orange 0.8, yellow 1" };
const remembered = new Map(); // image → window and inversion, while the page is open
const descriptions = new Map(); // image → what the server says of it
const MOST_DESCRIPTIONS = 64;

export async function describe(key) {
  if (!descriptions.has(key)) {
    if (descriptions.size > MOST_DESCRIPTIONS) descriptions.delete(descriptions.keys().next().value);
    descriptions.set(key, ask(`api/images/${key}`));
    descriptions.get(key).catch(() => descriptions.delete(key));
  }
  return descriptions.get(key);
}

export class Pane {
  constructor(parent, events) {
    this.events = events; // draw(pane, context), pointer(pane, name, event), changed(pane)
    this.element = document.createElement("div");
    this.element.className = "pane";
    const picture = document.createElement("div");
    picture.className = "picture";
    this.over = document.createElement("canvas");
    this.over.className = "over";
    this.corner = document.createElement("div");
    this.corner.className = "corner";
    this.bottom = document.createElement("div");
    this.bottom.className = "bottom";
    this.element.append(picture, this.over, this.corner, this.bottom);
    parent.append(this.element);
    this.key = "";
    this.meta = null;
    this.layer = "image";
    this.viewer = new OSD.Viewer({
      element: picture, drawer: "canvas", showNavigationControl: false, showNavigator: false, animationTime: 0.1,
      springStiffness: 10, blendTime: 0, immediateRender: true, imageSmoothingEnabled: true, maxZoomPixelRatio: 32,
      minZoomImageRatio: 0.4, visibilityRatio: 0.1, minPixelRatio: 1, constrainDuringPan: false, imageLoaderLimit: 8,
      maxImageCacheCount: 120, placeholderFillStyle: "#000", callTileLoadedWithCachedData: true,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false, flickEnabled: false },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: false, flickEnabled: false },
    });
    this.viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
    this.viewer.addHandler("update-viewport", () => this.draw());
    this.viewer.addHandler("animation", () => { this.smooth(); this.events.moved(this); });
    this.viewer.addHandler("resize", () => this.draw());
    this.viewer.addHandler("tile-invalidated", async (event) => {
      const data = await event.getData("codes");
      if (data) await event.setData(painted(data.codes, data.width, data.height, data.table()), "context2d");
    });
    this.listen();
  }

  // Show an image; resolves when it is there, and to false if another one was asked for meanwhile.
  async show(key, box = null) {
    if (key === this.key && this.meta) {
      if (box) this.fitTo(box);
      return true;
    }
    this.key = key;
    this.meta = null;
    this.corner.textContent = "…";
    let meta;
    try {
      meta = await describe(key);
    } catch (error) {
      if (this.key !== key) return false;
      this.viewer.close();
      this.corner.textContent = error.message;
      return false;
    }
    if (this.key !== key) return false;
    this.meta = meta;
    this.layer = "image";
    this.presets = presetsOf(meta);
    const kept = remembered.get(key);
    this.preset = kept ? kept.preset : this.presets[0];
    this.inverted = kept ? kept.inverted : false;
    this.table = tableOf(meta, this.preset, this.inverted);
    this.element.classList.toggle("right", meta.laterality === "R");
    this.element.classList.toggle("left", meta.laterality === "L");
    await new Promise((resolve) => {
      this.viewer.addOnceHandler("open", resolve);
      this.viewer.open(tileSource(key, meta, "image", () => this.table, meta.aspect));
    });
    if (this.key !== key) return false;
    if (box) this.fitTo(box);
    else this.home();
    this.label();
    this.events.changed(this);
    return true;
  }

  clear(text = "") {
    this.key = "";
    this.meta = null;
    this.viewer.close();
    this.corner.textContent = text;
    this.bottom.textContent = "";
    this.draw();
  }

  // ---- window and level

  setPreset(preset, { keep = true } = {}) {
    if (!this.meta) return;
    this.preset = preset;
    if (keep) remembered.set(this.key, { preset, inverted: this.inverted });
    this.table = tableOf(this.layerMeta || this.meta, preset, this.inverted);
    this.invalidated = this.viewer.requestInvalidate(true);
    this.label();
    this.events.changed(this);
  }

  nextPreset() {
    if (!this.meta) return;
    const at = this.presets.findIndex((p) => p === this.preset);
    this.setPreset(this.presets[(at + 1) % this.presets.length]);
  }

  invert() {
    this.inverted = !this.inverted;
    this.setPreset(this.preset);
  }

  // Move centre and width by fractions of the width.
  adjust(centreBy, widthBy) {
    if (!this.meta) return;
    const { centre, width } = spanOf(this.preset);
    this.setPreset(adjusted(this.preset, centre + centreBy * width, width * Math.exp(widthBy)));
  }

  // ---- layers: what the network sees

  async setLayer(layer) {
    const { key, meta } = this;
    if (!meta) return;
    this.layer = layer;
    while (this.viewer.world.getItemCount() > 1) this.viewer.world.removeItem(this.viewer.world.getItemAt(1));
    this.layerMeta = null;
    if (layer !== "image") {
      this.computing = true;
      this.corner.textContent = `computing: ${layer} …`;
      const placed = await ask(`api/images/${key}/layers/${layer}`);
      if (this.key !== key || this.layer !== layer) return;
      const preset = { kind: "range", centre: 2.5, width: 15 };
      const table = layer === "likelihood" ? LIKELIHOOD : tableOf(placed, preset, false);
      const [left, top, width, height] = placed.box;
      const aspect = (meta.aspect * height * placed.columns) / (width * placed.rows);
      await new Promise((resolve) => this.viewer.addTiledImage({
        tileSource: tileSource(key, placed, layer, () => table, aspect), x: left / meta.columns,
        y: (top * meta.aspect) / meta.columns, width: width / meta.columns, success: resolve, error: resolve,
      }));
    }
    this.computing = false;
    this.label();
    this.events.changed(this);
  }

  // ---- where things are: (row, column) of the stored image, x and y on the pane

  toPane(row, column) {
    const point = this.item.imageToViewerElementCoordinates(this.toShown(row, column));
    return [point.x, point.y];
  }

  toShown(row, column) {
    const { meta } = this;
    const [down, across] = meta.transposed ? [column, row] : [row, column];
    return new OSD.Point(
      (meta.mirror_columns ? meta.columns - 1 - across : across) + 0.5,
      ((meta.mirror_rows ? meta.rows - 1 - down : down) + 0.5) * meta.aspect);
  }

  toStored(x, y) {
    const { meta } = this;
    const at = this.item.viewerElementToImageCoordinates(new OSD.Point(x, y));
    const [column, row] = [at.x - 0.5, at.y / meta.aspect - 0.5];
    const [down, across] = [meta.mirror_rows ? meta.rows - 1 - row : row, meta.mirror_columns ? meta.columns - 1 - column : column];
    return meta.transposed ? [across, down] : [down, across];
  }

  get item() {
    return this.viewer.world.getItemAt(0);
  }

  // Screen pixels per pixel of the image as it hangs, across.
  get zoom() {
    const { item } = this;
    return item ? item.viewportToImageZoom(this.viewer.viewport.getZoom(true)) : 1;
  }

  zoomTo(ratio) {
    const { item } = this;
    if (item) this.viewer.viewport.zoomTo(item.imageToViewportZoom(ratio), null, true);
    this.smooth();
  }

  // Show a box of rows and columns of the stored image.
  fitTo({ top, left, bottom, right }) {
    const [a, b] = [this.toShown(top, left), this.toShown(bottom, right)];
    const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
    const { item } = this;
    const rectangle = item.imageToViewportRectangle(x, y, Math.abs(a.x - b.x), Math.abs(a.y - b.y));
    this.viewer.viewport.fitBounds(rectangle, true);
    this.smooth();
  }

  // The whole breast, its chest wall at the edge of the pane where the other breast hangs.
  home(mmPerPixel = 0) {
    const { meta, viewer } = this;
    if (!meta || !viewer.world.getItemCount()) return;
    const size = viewer.viewport.getContainerSize();
    const perPixel = (mmPerPixel || this.leastScale) / meta.pixel_mm;
    const [width, height] = [size.x * perPixel, size.y * perPixel];
    const [left, , right] = meta.content;
    const [top, bottom] = [meta.content[1] * meta.aspect, meta.content[3] * meta.aspect];
    const x = meta.laterality === "R" ? meta.columns - width : meta.laterality === "L" ? 0 : (left + right - width) / 2;
    const { item } = this;
    viewer.viewport.fitBounds(item.imageToViewportRectangle(x, (top + bottom - height) / 2, width, height), true);
    this.smooth();
  }

  // Millimetres per screen pixel at which the breast just fits, with some room.
  get leastScale() {
    const { meta } = this;
    const size = this.viewer.viewport.getContainerSize();
    const [left, top, right, bottom] = meta.content;
    const width = meta.laterality === "R" ? meta.columns - left : meta.laterality === "L" ? right : right - left;
    return 1.04 * Math.max(width / size.x, ((bottom - top) * meta.aspect) / size.y) * meta.pixel_mm;
  }

  // Where the middle of the pane lies, in millimetres from the chest wall and from half the height of the breast, and the
  // millimetres per screen pixel: two pictures of one breast follow each other by these.
  get gaze() {
    const { meta, element } = this;
    const at = this.item.viewerElementToImageCoordinates(new OSD.Point(element.clientWidth / 2, element.clientHeight / 2));
    const [x, y] = this.anchor;
    return { x: (at.x - x) * meta.pixel_mm, y: (at.y - y) * meta.pixel_mm, scale: meta.pixel_mm / this.zoom };
  }

  lookAt({ x, y, scale }) {
    const { meta, element, item } = this;
    const [left, top] = this.anchor;
    const [width, height] = [element.clientWidth, element.clientHeight].map((n) => (n * scale) / meta.pixel_mm);
    const rectangle = item.imageToViewportRectangle(
      left + x / meta.pixel_mm - width / 2, top + y / meta.pixel_mm - height / 2, width, height);
    this.viewer.viewport.fitBounds(rectangle, true);
    this.smooth();
  }

  get anchor() {
    const { meta } = this;
    const [left, top, right, bottom] = meta.content;
    const wall = meta.laterality === "R" ? meta.columns : meta.laterality === "L" ? 0 : (left + right) / 2;
    return [wall, ((top + bottom) / 2) * meta.aspect];
  }

  // The box of the stored image that is on the screen; null where it is about the whole breast.
  get zoomedBox() {
    const { meta, element } = this;
    if (!meta || !this.item || meta.pixel_mm / this.zoom > 0.7 * this.leastScale) return null;
    const [a, b] = [this.toStored(0, 0), this.toStored(element.clientWidth, element.clientHeight)];
    return {
      top: Math.min(a[0], b[0]), bottom: Math.max(a[0], b[0]), left: Math.min(a[1], b[1]), right: Math.max(a[1], b[1]),
    };
  }

  // Pixels are drawn as they are from native size on, and softly below.
  smooth() {
    const wanted = this.zoom < 0.999;
    if (wanted !== this.smoothing) {
      this.smoothing = wanted;
      this.viewer.drawer.setImageSmoothingEnabled(wanted);
    }
    this.label();
  }

  label() {
    const { meta } = this;
    if (!meta || this.computing) return;
    const where = [meta.laterality, meta.view].filter(Boolean).join(" ");
    const layer = this.layer === "image" ? "" : `\n${this.layer}`;
    const mark = this.events.markOf(this.key);
    this.corner.textContent = `${where ? `${where}\n` : ""}${meta.name}${this.note ? `\n${this.note}` : ""}${mark ? `\n${mark}` : ""}${layer}`;
    const range = LAYER_RANGES[this.layer];
    if (range) {
      this.bottom.textContent = `${(100 * this.zoom).toFixed(0)} %   ${range}`;
      return;
    }
    const { centre, width } = spanOf(this.preset);
    const digits = meta.curve === "log" ? 2 : 0;
    this.bottom.textContent = `${(100 * this.zoom).toFixed(0)} %   ${this.preset.name}  c ${centre.toFixed(digits)}  w ${width.toFixed(digits)}`
      + `${this.inverted ? "  inverted" : ""}`;
  }

  // ---- drawing

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.element;
    if (this.over.width !== width * ratio || this.over.height !== height * ratio) {
      [this.over.width, this.over.height] = [width * ratio, height * ratio];
    }
    const context = this.over.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.meta && this.viewer.world.getItemCount()) {
      this.events.draw(this, context);
      drawScale(this, context, height);
    }
    if (this.loupe) this.drawLoupe();
  }

  toggleLoupe() {
    if (this.loupe) {
      this.loupe.remove();
      this.loupe = null;
      return;
    }
    this.loupe = document.createElement("canvas");
    this.loupe.className = "loupe";
    [this.loupe.width, this.loupe.height] = [LOUPE_PX, LOUPE_PX];
    this.element.append(this.loupe);
    this.drawLoupe();
  }

  // The loupe's pixels of the screen per pixel of the image: at least four, and twice what the pane shows.
  get magnified() {
    return Math.max(4, 2 ** Math.ceil(Math.log2(this.zoom * 2)));
  }

  // The pixels under the pointer, from the tiles of full resolution.
  async drawLoupe() {
    const [x, y] = this.pointer || [this.element.clientWidth / 2, this.element.clientHeight / 2];
    if (!this.loupe || !this.meta) return;
    const half = LOUPE_PX / 2;
    this.loupe.style.left = `${x - half}px`;
    this.loupe.style.top = `${y - half}px`;
    const at = this.item.viewerElementToImageCoordinates(new OSD.Point(x, y));
    const { magnified } = this;
    const context = this.loupe.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.fillStyle = "#000";
    context.fillRect(0, 0, LOUPE_PX, LOUPE_PX);
    const reach = half / magnified;
    const { aspect } = this.meta;
    const tall = 512 * aspect;
    const tiles = [];
    for (let row = Math.floor((at.y - reach) / tall); row <= Math.floor((at.y + reach) / tall); row++) {
      for (let column = Math.floor((at.x - reach) / 512); column <= Math.floor((at.x + reach) / 512); column++) {
        tiles.push(this.fullTile(column, row).then((picture) => picture && context.drawImage(
          picture, half + (512 * column - at.x) * magnified, half + (tall * row - at.y) * magnified,
          picture.width * magnified, picture.height * magnified * aspect)));
      }
    }
    await Promise.all(tiles);
  }

  async fullTile(column, row) {
    const { meta, key } = this;
    if (row < 0 || column < 0 || 512 * row >= meta.rows || 512 * column >= meta.columns) return null;
    const name = `${key}/${column}/${row}`;
    this.tiles ||= new Map();
    if (!this.tiles.has(name)) {
      if (this.tiles.size > 16) this.tiles.delete(this.tiles.keys().next().value);
      const path = `api/images/${key}/tiles/image/${meta.levels - 1}/${column}/${row}`;
      this.tiles.set(name, fetch(path).then((response) => response.arrayBuffer()));
    }
    const codes = new Uint16Array(await this.tiles.get(name));
    const width = Math.min(512, meta.columns - 512 * column);
    return painted(codes, width, codes.length / width, this.table).canvas;
  }

  // ---- the pointer: what the page does not take, OpenSeadragon gets

  listen() {
    const place = (event) => {
      const box = this.element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const hand = (name) => (event) => {
      this.pointer = place(event);
      if (this.events.pointer(this, name, event, ...this.pointer)) {
        event.stopPropagation();
        event.preventDefault();
      }
      if (this.loupe && name === "pointermove") this.drawLoupe();
    };
    for (const name of ["pointerdown", "pointermove", "pointerup", "wheel"]) {
      this.element.addEventListener(name, hand(name), { capture: true, passive: false });
    }
    this.element.addEventListener("contextmenu", (event) => event.preventDefault());
  }
}
