// The text/event-stream format (HTML, "Server-sent events"), with the line `encoding` of this server.
export interface Block {
  id?: string;
  event?: string;
  encoding?: string;
  data?: string; // absent: a position without a message
}

// Returns what takes the stream piece by piece, wherever it is cut, and calls `on` for each block.
export function eventParser(on: (block: Block) => void): (text: string) => void {
  let rest = '';
  let block: Record<string, string> = {};
  return text => {
    // A CR at the end may be half of a CRLF.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop()!;
    for (const line of lines) {
      const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line)!;
      if (!line) {
        if (block.id || block.data !== undefined) {
          on(block);
        }
        block = {};
      } else if (name) {
        block[name] = name === 'data' && block.data !== undefined ? `${block.data}\n${value}` : value;
      }
    }
  };
}
