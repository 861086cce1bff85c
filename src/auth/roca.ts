const PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
  109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
]

/**
 * Whether an RSA modulus has the fingerprint of the Infineon generator (ROCA, CVE-2017-15361), whose keys of 2,048 bits
 * can be factored for some thousands of dollars: modulo each small prime it is a power of 65537. A sound key looks like
 * one with a chance of 2⁻²⁷.
 */
export function isRocaModulus(modulus: bigint): boolean {
  return PRIMES.every((prime) => isPowerOf65537(Number(modulus % BigInt(prime)), prime))
}

function isPowerOf65537(residue: number, prime: number): boolean {
  let power = 1
  do {
    if (power === residue) return true
    power = (power * 65_537) % prime
  } while (power !== 1)
  return false
}
