import { useEffect, useRef, useState, type RefObject } from "react";

/** The width of an element in pixels, kept up to date; `before` until it was measured. */
export function useWidth<E extends HTMLElement>(before = 640): [RefObject<E | null>, number] {
  const element = useRef<E>(null);
  const [width, setWidth] = useState(before);
  useEffect(() => {
    const seen = element.current;
    if (seen === null || typeof ResizeObserver === "undefined") {
      return undefined;
    }
    const observer = new ResizeObserver(([entry]) => {
      if (entry !== undefined && entry.contentRect.width > 0) {
        setWidth(Math.floor(entry.contentRect.width));
      }
    });
    observer.observe(seen);
    return () => {
      observer.disconnect();
    };
  }, []);
  return [element, width];
}
