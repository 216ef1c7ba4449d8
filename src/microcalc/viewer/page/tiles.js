// Tiles of 16-bit codes for OpenSeadragon, which the browser turns into grey levels.

import { painted } from "./grey.js";

const OSD = window.OpenSeadragon;

OSD.converter.learn("codes", "context2d", (_tile, d) => painted(d.codes, d.width, d.height, d.table()), 1, 1);
OSD.converter.learn("codes", "codes", (_tile, d) => d, 0, 0);

// Tiles of an image or layer. On the screen a pixel is one wide and `aspect` high, so that a circle stays a circle.
export function tileSource(key, meta, layer, table, aspect) {
  const { levels } = meta;
  const across = (n, level) => Math.ceil(n / 2 ** (levels - 1 - level));
  return {
    width: meta.columns, height: meta.rows * aspect, tileWidth: 512, tileHeight: 512 * aspect, tileOverlap: 0,
    minLevel: 0, maxLevel: levels - 1,
    getNumTiles: (level) => new OSD.Point(Math.ceil(across(meta.columns, level) / 512), Math.ceil(across(meta.rows, level) / 512)),
    getTileBounds: (level, x, y, inTile) => { // in parts of the width of the image, or which part of the tile is drawn
      const half = 2 ** (levels - 1 - level);
      const width = Math.min(512, meta.columns / half - 512 * x);
      const height = Math.min(512, meta.rows / half - 512 * y);
      if (inTile) return new OSD.Rect(0, 0, width, height);
      const part = half / meta.columns;
      return new OSD.Rect(512 * x * part, 512 * y * aspect * part, width * part, height * aspect * part);
    },
    getTileUrl: (level, x, y) => `api/images/${key}/tiles/${layer}/${level}/${x}/${y}`,
    getTileHashKey: (level, x, y) => `${key}/${layer}/${level}/${x}/${y}`,
    downloadTileStart: (job) => {
      const [level, x, y] = job.src.split("/").slice(-3).map(Number);
      const side = (n, at) => Math.min(512, across(n, level) - 512 * at);
      job.userData.abort = new AbortController();
      fetch(job.src, { signal: job.userData.abort.signal })
        .then((response) => (response.ok ? response.arrayBuffer() : Promise.reject(new Error("no tile"))))
        .then((buffer) => job.finish(
          { codes: new Uint16Array(buffer), width: side(meta.columns, x), height: side(meta.rows, y), table }, null, "codes"))
        .catch((error) => job.fail(error.message, null));
    },
    downloadTileAbort: (job) => job.userData.abort.abort(),
  };
}
