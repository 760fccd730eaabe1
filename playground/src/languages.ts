// The languages of the editor: what it colours, what a file of it is called, and something to begin with.
import { cpp } from "@codemirror/lang-cpp";
import { go } from "@codemirror/lang-go";
import { java } from "@codemirror/lang-java";
import { javascript } from "@codemirror/lang-javascript";
import { python } from "@codemirror/lang-python";
import { rust } from "@codemirror/lang-rust";
import type { LanguageSupport } from "@codemirror/language";

/** A language. In `sample`, `CURSOR` is where the first completion goes. */
export interface Language {
  name: string;
  path: string;
  extensions: string[];
  fences: string[];
  support: () => LanguageSupport;
  sample: string;
}

export const CURSOR = "‸";

export const LANGUAGES: Language[] = [
  {
    name: "Python",
    path: "src/search.py",
    extensions: ["py", "pyi"],
    fences: ["python", "py"],
    support: python,
    sample: `def binary_search(items: list[int], wanted: int) -> int | None:
    """Return the index of a value in a sorted list, or None."""
    low, high = 0, len(items) - 1
    while low <= high:
        middle = (low + high) // 2
        ${CURSOR}
    return None


assert binary_search([1, 3, 5, 8], 5) == 2
`,
  },
  {
    name: "JavaScript",
    path: "src/debounce.js",
    extensions: ["js", "jsx", "mjs", "cjs"],
    fences: ["javascript", "js", "jsx"],
    support: () => javascript({ jsx: true }),
    sample: `/** Calls a function once nothing has asked for it for a while. */
export function debounce(action, milliseconds) {
  let timer;
  return (...args) => {
    ${CURSOR}
  };
}
`,
  },
  {
    name: "TypeScript",
    path: "src/group_by.ts",
    extensions: ["ts", "tsx", "mts", "cts"],
    fences: ["typescript", "ts", "tsx"],
    support: () => javascript({ jsx: true, typescript: true }),
    sample: `/** Puts items into lists by a key. */
export function groupBy<T, K>(items: T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  ${CURSOR}
  return groups;
}
`,
  },
  {
    name: "Go",
    path: "stack.go",
    extensions: ["go"],
    fences: ["go", "golang"],
    support: go,
    sample: `package stack

// Stack is a last-in, first-out list.
type Stack[T any] struct {
	items []T
}

// Pop takes the newest item; ok is false if there is none.
func (s *Stack[T]) Pop() (item T, ok bool) {
	${CURSOR}
}
`,
  },
  {
    name: "Java",
    path: "src/Words.java",
    extensions: ["java"],
    fences: ["java"],
    support: java,
    sample: `import java.util.*;

public class Words {
    /** Counts how often each word occurs. */
    static Map<String, Integer> count(List<String> words) {
        Map<String, Integer> counts = new HashMap<>();
        ${CURSOR}
        return counts;
    }
}
`,
  },
  {
    name: "C++",
    path: "src/gcd.cpp",
    extensions: ["cpp", "cc", "cxx", "hpp", "hh", "h", "c"],
    fences: ["cpp", "c++", "c"],
    support: cpp,
    sample: `#include <cstdint>

// The greatest common divisor, by Euclid's algorithm.
std::uint64_t gcd(std::uint64_t a, std::uint64_t b) {
    ${CURSOR}
}
`,
  },
  {
    name: "Rust",
    path: "src/lib.rs",
    extensions: ["rs"],
    fences: ["rust", "rs"],
    support: rust,
    sample: `/// Whether a text reads the same from both ends.
pub fn is_palindrome(text: &str) -> bool {
    ${CURSOR}
}
`,
  },
];

/** The language of a file, by its path. */
export function languageOf(path: string): Language | undefined {
  const extension = path.split(".").pop()?.toLowerCase() ?? "";
  return LANGUAGES.find((language) => language.extensions.includes(extension));
}

/** The language that a block of code in an answer names. */
export function languageOfFence(name: string): Language | undefined {
  return LANGUAGES.find((language) => language.fences.includes(name.toLowerCase()));
}
