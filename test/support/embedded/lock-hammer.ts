/** Takes the lock again and again, writing `+<pid>` on entering and `-<pid>` on leaving: `lock-hammer <folder> <journal>`. */
import { appendFileSync } from 'node:fs'
import { withLock } from '../../../src/embedded/lock.ts'

const [, , folder = '', journal = '', rounds = '0'] = process.argv
for (let round = 0; round < Number(rounds); round += 1) {
  await withLock(folder, async () => {
    appendFileSync(journal, `+${process.pid}\n`)
    await new Promise((resolve) => setTimeout(resolve, 2))
    appendFileSync(journal, `-${process.pid}\n`)
  })
}
