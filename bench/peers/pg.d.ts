/** What the peers use of pg, which ships no types: the pool that Socket.IO's adapter asks for. */
declare module 'pg' {
  export class Pool {
    constructor(options: { connectionString: string; max?: number })
    query(text: string): Promise<unknown>
  }
}
