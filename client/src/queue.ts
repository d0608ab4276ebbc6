// Messages that wait to be acknowledged, in order; in a Storage too, if there is one, so that they outlive the page.
import type { Publication } from './link.js';
import type { Options, Receipt } from './types.js';

export interface Item extends Publication {
  sent_?: boolean; // on the present connection
  tried_?: number; // when it was sent for the first time without an answer since
  stored_?: string; // its name in the storage
  kept_?: boolean; // it is there, where another page may find it
  adopted_?: boolean; // it was found there
  resolve_(receipt: Receipt): void;
  reject_(error: Error): void;
}

// The server knows keys for five minutes.
export const SafeToRepeat = 270000;

// Hard to guess, since whoever knows a key can use it first.
const random = () => globalThis.crypto?.getRandomValues(new Uint32Array(4)).join('-') ?? `${Math.random()}`; // Node 18

export class Queue {
  readonly items_ = new Map<number, Item>(); // in the order of `ref`
  private next_ = 1;
  private readonly secret_ = random();
  private readonly prefix_: string;

  constructor(
    private readonly storage_: Options['storage'],
    url: string,
  ) {
    this.prefix_ = `realtime:${url}:`;
  }

  add_(item: Omit<Item, 'ref_'>): Item {
    const ref = this.next_++;
    const added: Item = { ...item, ref_: ref, key_: item.key_ || `${this.secret_}-${ref}` };
    this.items_.set(ref, added);
    // Names sort as messages were made.
    added.stored_ ||= `${this.prefix_}${Date.now()}-${String(ref).padStart(9, '0')}-${this.secret_}`;
    return added;
  }

  store_(item: Item) {
    try {
      if (this.storage_) {
        this.storage_.setItem(
          item.stored_!,
          JSON.stringify([item.channel_, item.event_, item.text_, item.key_, item.tried_]),
        );
        item.kept_ = true;
      }
    } catch {
      // It is full, or not allowed: the message lives as long as the page.
    }
  }

  remove_(item: Item, keep?: boolean) {
    this.items_.delete(item.ref_);
    if (!keep) {
      this.storage_?.removeItem(item.stored_!);
    }
  }

  // Another page may have it too, as the storage is theirs in common. While both have it, the key keeps it from being
  // published twice, from the first attempt of either on; once one has its answer it is gone.
  gone_(item: Item) {
    const text = item.kept_ ? this.storage_!.getItem(item.stored_!) : '[]';
    item.tried_ ||= text && JSON.parse(text)[4];
    return !text;
  }

  // Takes over what earlier pages have left.
  restore_(limit: number, item: Pick<Item, 'resolve_' | 'reject_'>) {
    const storage = this.storage_;
    const names = Object.keys(storage ?? {}).filter(name => name.startsWith(this.prefix_));
    for (const name of names.sort().slice(0, limit)) {
      try {
        const [channel_, event_, text_, key_, tried_] = JSON.parse(storage!.getItem(name)!);
        this.add_({ ...item, channel_, event_, text_, key_, tried_, stored_: name, kept_: true, adopted_: true });
      } catch {
        storage!.removeItem(name); // not ours
      }
    }
  }
}
