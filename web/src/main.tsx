import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./app/app.css";
import { confirmBy } from "./api/client";
import { router } from "./app/router";
import { applyTheme } from "./app/theme";
import { queries } from "./live/store";
import { TipGroup } from "./ui/tip";

applyTheme();
confirmBy(async (response) => {
  const { confirm, needed } = await import("./features/access/step-up");
  const challenge = await needed(response);
  return challenge === null ? null : confirm(challenge);
});
const place = document.getElementById("root");
if (place)
  createRoot(place).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <TipGroup delay={300}>
          <RouterProvider router={router} />
        </TipGroup>
      </QueryClientProvider>
    </StrictMode>,
  );
