import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react'
import { type ConnectOptions, connect, type Notices, type State, type Stream } from './index.ts'

/** The options of `connect`. A change of `url`, `transport`, `after` or `store` needs a new `key`, and so does another user. */
export interface GlimpseProviderProps<Own extends object = object> extends ConnectOptions<Own> {
  readonly children?: ReactNode
}

export interface Glimpse<Own extends object = object> {
  readonly state: State
  /** Events the user has not read, on any device. */
  readonly unread: number
  /** Marks everything as read up to a cursor, or everything so far without one. Does nothing until the component is mounted. */
  readonly markRead: (cursor?: string) => Promise<void>
  /** undefined on a server, and until the component is mounted. */
  readonly stream: Stream<Own> | undefined
}

interface Snapshot {
  readonly state: State
  readonly unread: number
  readonly stream: Stream | undefined
}

const STARTING: Snapshot = {
  state: { name: 'waiting', reason: 'starting', retryInMs: 0 },
  unread: 0,
  stream: undefined,
}

/**
 * The one stream of a provider. Rendering has no effect on it, because React may throw a render away; it is opened by the
 * first mounted component and closed when none is left. StrictMode unmounts and mounts at once, so closing waits a turn.
 */
class Connection {
  options: ConnectOptions
  #snapshot = STARTING
  #cursor: string | undefined
  #retained = 0
  #closing: ReturnType<typeof setTimeout> | undefined
  readonly #changed = new Set<() => void>()

  constructor(options: ConnectOptions) {
    this.options = options
  }

  readonly snapshot = (): Snapshot => this.#snapshot

  readonly subscribe = (changed: () => void): (() => void) => {
    this.#changed.add(changed)
    return () => void this.#changed.delete(changed)
  }

  /** @returns the stream, and what gives it back */
  retain(): { readonly stream: Stream; readonly release: () => void } {
    this.#retained += 1
    clearTimeout(this.#closing)
    const stream = this.#snapshot.stream ?? this.#open()
    const release = () => {
      this.#retained -= 1
      if (this.#retained === 0) this.#closing = setTimeout(() => this.#close())
    }
    return { stream, release }
  }

  #open(): Stream {
    const { options } = this
    const stream: Stream = connect({
      ...options,
      // A tree that was hidden for a while continues where it was.
      after: this.#cursor ?? options.after,
      // Call the newest props: the component may close over other values by then.
      getToken: options.getToken && ((why) => this.options.getToken?.(why) ?? null),
      onEvent: (event) => this.options.onEvent?.(event),
      onReset: (reset) => this.options.onReset?.(reset),
      onGap: (gap) => this.options.onGap?.(gap),
      onState: (state) => {
        if (this.#snapshot.stream === stream) this.#set({ ...this.#snapshot, state })
        this.options.onState?.(state)
      },
      onUnread: (unread) => {
        if (this.#snapshot.stream === stream) this.#set({ ...this.#snapshot, unread })
        this.options.onUnread?.(unread)
      },
    })
    this.#set({ ...this.#snapshot, stream, state: stream.state })
    return stream
  }

  #close(): void {
    const { stream } = this.#snapshot
    this.#cursor = stream?.cursor
    this.#set(STARTING)
    stream?.close()
  }

  #set(snapshot: Snapshot): void {
    this.#snapshot = snapshot
    for (const changed of this.#changed) changed()
  }
}

const GlimpseContext = createContext<Connection | undefined>(undefined)

/** Opens one stream for all the components below it, while one of them is mounted. */
export function GlimpseProvider({ children, ...options }: GlimpseProviderProps): ReactElement {
  const [connection] = useState(() => new Connection(options))
  useEffect(() => {
    connection.options = options
  })
  useEffect(() => connection.retain().release, [connection])
  return createElement(GlimpseContext.Provider, { value: connection }, children)
}

/**
 * The provider's stream; with a type and a handler, the handler is called while the component is mounted, as `stream.on`
 * would. The handler may be another function at each render.
 *
 * @throws Error where there is no GlimpseProvider above
 */
export function useGlimpse<Type extends keyof Notices & string>(
  type?: Type,
  handler?: (value: Notices[Type]) => void | Promise<void>,
): Glimpse {
  const connection = useContext(GlimpseContext)
  if (connection === undefined) throw new Error('useGlimpse: there is no GlimpseProvider above')
  const latest = useRef(handler)
  useEffect(() => {
    latest.current = handler
  })
  const listens = type !== undefined && handler !== undefined
  useEffect(() => {
    const { stream, release } = connection.retain()
    const off = listens ? stream.on(type, (value) => latest.current?.(value)) : undefined
    return () => {
      off?.()
      release()
    }
  }, [connection, type, listens])
  const { state, unread, stream } = useSyncExternalStore(
    connection.subscribe,
    connection.snapshot,
    () => STARTING,
  )
  const markRead = async (cursor?: string) => stream?.markRead(cursor)
  return { state, unread, stream, markRead }
}

/** The provider and the hook, typed for events of one's own. Call it once, outside of components. */
export function createGlimpse<Own extends object>(): {
  readonly GlimpseProvider: (props: GlimpseProviderProps<Own>) => ReactElement
  readonly useGlimpse: <Type extends keyof Notices<Own> & string>(
    type?: Type,
    handler?: (value: Notices<Own>[Type]) => void | Promise<void>,
  ) => Glimpse<Own>
} {
  // The types of events exist at compile time only.
  return { GlimpseProvider, useGlimpse } as never
}
