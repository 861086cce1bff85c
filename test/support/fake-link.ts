import type { Link, LinkListener } from '../../src/bus/nats-link.ts'

/** NATS of which tests say what it does: messages are delivered at once, to whoever has subscribed on any link of it. */
export class FakeNats {
  readonly links: FakeLink[] = []
  /** What was published, as `subject text`; nothing is while it is away. */
  readonly published: string[] = []
  /** Whether what is published is delivered. */
  delivers = true

  link(): FakeLink {
    const link = new FakeLink(this)
    this.links.push(link)
    return link
  }

  deliver(subject: string, text: string): void {
    this.published.push(`${subject} ${text}`)
    if (!this.delivers) return
    for (const link of this.links) link.hear(subject, text)
  }
}

export class FakeLink implements Link {
  up = true
  /** Whether round trips end, and how many were asked for. */
  answers = true
  trips = 0
  readonly #nats: FakeNats
  readonly #interests = new Set<{ subject: string; onMessage: (text: string) => void }>()
  readonly #listeners = new Set<LinkListener>()
  #pending: (() => void)[] = []

  constructor(nats: FakeNats) {
    this.#nats = nats
  }

  get subjects(): string[] {
    return [...this.#interests].map(({ subject }) => subject)
  }

  hear(subject: string, text: string): void {
    if (!this.up) return
    for (const interest of [...this.#interests]) if (interest.subject === subject) interest.onMessage(text)
  }

  subscribe(subject: string, onMessage: (text: string) => void): () => void {
    const interest = { subject, onMessage }
    this.#interests.add(interest)
    return () => this.#interests.delete(interest)
  }

  publish(subject: string, text: string): void {
    if (this.up) this.#nats.deliver(subject, text)
  }

  roundTrip(milliseconds: number): Promise<boolean> {
    this.trips++
    if (this.answers) return Promise.resolve(this.up)
    return new Promise((resolve) => {
      this.#pending.push(() => resolve(true))
      setTimeout(() => resolve(false), milliseconds)
    })
  }

  /** Round trips that are under way end. */
  answer(): void {
    for (const resolve of this.#pending.splice(0)) resolve()
  }

  listen(listener: LinkListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  down(): void {
    this.up = false
    for (const { onDown } of this.#listeners) onDown?.()
  }

  comeUp(): void {
    this.up = true
    for (const { onUp } of this.#listeners) onUp()
  }
}
