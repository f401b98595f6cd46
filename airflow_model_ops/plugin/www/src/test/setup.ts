import { cleanup, configure } from "@testing-library/react";
import { vi } from "vitest";

// What a browser has and jsdom has not. The tests' window is wide.
window.matchMedia = (query: string) =>
  ({ matches: query.includes("min-width"), media: query, addEventListener: () => undefined, removeEventListener: () => undefined }) as unknown as MediaQueryList;
globalThis.ResizeObserver = class {
  observe() {}
  unobserve() {}
  disconnect() {}
};
Element.prototype.scrollTo = () => undefined;
Element.prototype.scrollIntoView = () => undefined;

// Whether something is visible takes jsdom most of a test's time, and it knows no layout anyway.
configure({ defaultHidden: true, asyncUtilTimeout: 30_000 });

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});
