// A call or a route with its fields: with the mouse or the focus on it, these are marked in the query editor.
import { useGraphiQL } from '@graphiql/react';

import { markFields } from './marks.js';

/** Lets a path break after its slashes and points, and nowhere else. */
function Breakable({ text }) {
  return text.split(/(?<=[/.?&])/).map((part, index) => [index > 0 && <wbr key={index} />, part]);
}

/** `label` is a button that shows the fields; `says` stands before their names. */
export function Fields({ label, says, paths, more = 0 }) {
  const editor = useGraphiQL((state) => state.queryEditor);
  const mark = () => markFields(editor, paths);
  const unmark = () => markFields(editor, []);

  function reveal() {
    const [first] = mark();
    if (first) editor.revealRangeInCenterIfOutsideViewport(first);
  }

  return (
    <div className="call-fields" onMouseEnter={mark} onMouseLeave={unmark}>
      <button type="button" className="call-label" onFocus={mark} onBlur={unmark} onClick={reveal}>
        <code>
          <Breakable text={label} />
        </code>
      </button>
      {paths.length > 0 && (
        <div>
          {says}{' '}
          <code>
            <Breakable text={paths.map((path) => path.join('.')).join(', ')} />
          </code>
          {more > 0 && ` and ${more} more`}
        </div>
      )}
    </div>
  );
}
