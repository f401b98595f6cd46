import { absolute, ago, useNow } from "../time";

/** How long ago something was; the moment itself when pointed at. */
export function TimeAgo({ at }: { readonly at: string | null | undefined }) {
  const now = useNow();
  if (!at) return <span>unknown</span>;
  return (
    <time dateTime={at} title={absolute(at)}>
      {ago(at, now)}
    </time>
  );
}
