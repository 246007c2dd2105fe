// The icons: drawn with the colour of the text beside them, and hidden from screen readers.

import type { ComponentChildren } from "preact";

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const Microphone = () => (
  <Icon>
    <rect x="9" y="3" width="6" height="11" rx="3" />
    <path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3" />
  </Icon>
);

export const MicrophoneOff = () => (
  <Icon>
    <path d="M9 6a3 3 0 0 1 6 0v5M9 9.5V11a3 3 0 0 0 4.5 2.6M5.5 11.5a6.5 6.5 0 0 0 10 5.5M18.5 11.5a6.4 6.4 0 0 1-.6 2.7M12 18v3M4 4l16 16" />
  </Icon>
);

export const StopSquare = () => (
  <Icon>
    <rect x="7" y="7" width="10" height="10" rx="2" class="filled" />
  </Icon>
);

export const Document = () => (
  <Icon>
    <path d="M13.5 3.5H7a1.5 1.5 0 0 0-1.5 1.5v14A1.5 1.5 0 0 0 7 20.5h10a1.5 1.5 0 0 0 1.5-1.5V8.5zM13.5 3.5v5h5M12 17.5v-6M9.5 13.5 12 11l2.5 2.5" />
  </Icon>
);

export const Again = () => (
  <Icon>
    <path d="M5 12a7 7 0 1 0 2.3-5.2M5 4v4h4" />
  </Icon>
);

export const Sliders = () => (
  <Icon>
    <path d="M4 8h9M17 8h3M4 16h3M11 16h9" />
    <circle cx="15" cy="8" r="2" />
    <circle cx="9" cy="16" r="2" />
  </Icon>
);

export const Stairs = () => (
  <Icon>
    <path d="M4 6.5h6M8 12h7M13 17.5h7" />
  </Icon>
);

export const Cross = () => (
  <Icon>
    <path d="M6 6l12 12M18 6 6 18" />
  </Icon>
);

export const Wrench = () => (
  <Icon>
    <path d="M14.5 6.5a4 4 0 0 1 5-1l-2.7 2.7 1 1L20.500 6.500a4 4 0 0 1-5.300 5L8 18.700a1.900 1.900 0 0 1-2.700-2.700l7.200-7.200a4 4 0 0 1 2-2.300z" />
  </Icon>
);

export const Wave = () => (
  <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path d="M3 10v4M7.500 6v12M12 9v6M16.500 4v16M21 10v4" />
  </svg>
);
