// Fetches the schema once an operation has been answered, where it could not be had when the page was opened.
import { useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { useEffect, useRef } from 'react';

/** Renders nothing. */
export function LateSchema() {
  const { introspect } = useGraphiQLActions();
  const missing = useGraphiQL((state) => !state.schema && !state.isIntrospecting);
  const running = useGraphiQL((state) => state.isFetching);
  const ran = useRef(false);
  useEffect(() => {
    if (ran.current && !running && missing) introspect();
    ran.current = running;
  }, [running]);
  return null;
}
