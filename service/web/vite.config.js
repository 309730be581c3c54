import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { withoutGradients } from "./gradients.js";
import { notices } from "./notices.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// The built page is checked in as package data: whoever installs Sigap needs no Node.
export default defineConfig({
  // Relative addresses: a proxy may serve the page below any path.
  base: "./",
  publicDir: false,
  build: {
    outDir: here("../sigap/page"),
    emptyOutDir: true,
    // The gateway's route for what never changes under one name.
    assetsDir: "page",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2023",
    chunkSizeWarningLimit: 4000,
    // What others wrote changes seldom: by itself it keeps its name, in browsers' caches and in the repository.
    rolldownOptions: { output: { advancedChunks: { groups: [{ name: "niivue", test: /node_modules/ }] } } },
  },
  resolve: {
    alias: {
      // NiiVue reads chunked volumes from web servers with it. We have none, and its decoders need WebAssembly.
      zarrita: here("./src/scan/no-zarr.ts"),
    },
  },
  plugins: [withoutGradients(), notices()],
});
