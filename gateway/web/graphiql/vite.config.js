// Bundles the page's sources with GraphiQL into dist/: hashed names, all in one folder, and a manifest of what is what.
import { defineConfig } from 'vite';

/** Leave out GraphiQL's fonts for other scripts than Latin, which its style sheet contains: 400 KB. */
const latinFonts = {
  name: 'latin-fonts',
  enforce: 'pre',
  transform: (code, id) =>
    id.endsWith('.css')
      ? code.replace(/@font-face\s*{[^}]*}/g, (face) => (/unicode-range:(?!.*U\+0000-00FF)/i.test(face) ? '' : face))
      : undefined,
};

export default defineConfig({
  base: './', // the files find each other wherever the gateway is mounted
  build: {
    assetsDir: '',
    assetsInlineLimit: 0, // a font is a file with a long life in the cache, not part of every style sheet
    chunkSizeWarningLimit: 10_000, // Monaco is large, and loaded once
    license: { fileName: 'licenses.md' }, // of everything that is in the bundle
    manifest: 'manifest.json',
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: 'src/main.jsx',
      // `"use client"` at the head of a component means nothing here.
      onwarn: (warning, warn) => warning.code === 'MODULE_LEVEL_DIRECTIVE' || warn(warning),
    },
    sourcemap: false,
    target: 'es2022',
  },
  plugins: [latinFonts],
  worker: { format: 'es' },
});
