import { defineConfig } from "vitest/config";

// React, Chakra and the router are the host's own: one copy of each, so that theme, dark mode and navigation are Airflow's.
const HOST_GLOBALS: Record<string, string> = {
  react: "React",
  "react-dom": "ReactDOM",
  "react/jsx-runtime": "ReactJSXRuntime",
  "react-router-dom": "ReactRouterDOM",
  "@chakra-ui/react": "ChakraUI",
  "@emotion/react": "EmotionReact",
};

export default defineConfig({
  // swr gets useSyncExternalStore from a CommonJS package, whose require("react") no browser knows; the host's React has it.
  resolve: { alias: { "use-sync-external-store/shim": "react" } },
  define: { "process.env.NODE_ENV": JSON.stringify("production") },
  build: {
    outDir: "../bundle",
    emptyOutDir: false,
    copyPublicDir: true,
    target: "es2022",
    lib: { entry: "src/main.tsx", formats: ["umd"], name: "AirflowPlugin", fileName: () => "model_ops.umd.js" },
    rollupOptions: { external: Object.keys(HOST_GLOBALS), output: { globals: HOST_GLOBALS, exports: "default" } },
  },
  test: { environment: "jsdom", globals: true, setupFiles: ["src/test/setup.ts"], testTimeout: 120_000, hookTimeout: 120_000 },
});
