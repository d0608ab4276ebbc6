// Prints the kinds of hostile clients.
import { kinds } from './support/siege.js';

console.log(Object.keys(kinds).join('\n'));
